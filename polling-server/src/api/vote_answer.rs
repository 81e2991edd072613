//! How an accepted vote is answered.

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::Object;
use uuid::Uuid;

use super::answer::JSON;
use super::negotiation::PREFERENCE_APPLIED;
use super::vote_desk::Accepted;

/// A vote that was taken.
#[derive(Debug, Object)]
#[oai(rename = "AcceptedVote", read_only_all)]
pub(crate) struct AcceptedVote {
    /// Ask `/receipts/{receipt}` with it what became of the vote. It does not tell what was chosen.
    pub(crate) receipt: String,
    /// `counted`, or `pending` while that is not known.
    pub(crate) status: String,
    /// The name of the vote: the client's, or one that the server made.
    pub(crate) vote_id: Uuid,
}

/// What goes with an accepted vote besides itself.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The cookie for a browser that had none.
    pub(crate) set_cookie: Option<HeaderValue>,
    /// The wait that was granted, in seconds.
    pub(crate) wait_seconds: Option<u64>,
}

/// 202 with the vote, where its receipt is found, and the extras.
pub(crate) fn accepted_response(accepted: &Accepted, extras: Extras) -> Response {
    let Accepted { receipt, vote_id, .. } = accepted;
    let status = accepted.status();
    // Every part is plain ASCII without anything to escape, so the JSON can be put together as it is.
    let body = format!(r#"{{"receipt":"{receipt}","status":"{status}","vote_id":"{vote_id}"}}"#);
    let mut response = Response::builder().status(StatusCode::ACCEPTED).body(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::try_from(format!("/receipts/{receipt}")) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(cookie) = extras.set_cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    if let Some(seconds) = extras.wait_seconds
        && let Ok(applied) = HeaderValue::try_from(format!("wait={seconds}"))
    {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}
