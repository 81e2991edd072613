//! How an accepted vote is answered.

use bytes::Bytes;
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
    // Every part is plain ASCII without anything to escape, so the JSON can be put together as it is.
    let mut digits = Uuid::encode_buffer();
    let parts: [&[u8]; 7] = [
        b"{\"receipt\":\"",
        receipt.as_bytes(),
        b"\",\"status\":\"",
        accepted.status().as_bytes(),
        b"\",\"vote_id\":\"",
        vote_id.0.hyphenated().encode_lower(&mut digits).as_bytes(),
        b"\"}",
    ];
    let mut response = Response::builder().status(StatusCode::ACCEPTED).body(parts.concat());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from([b"/receipts/", receipt.as_bytes()].concat())) {
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
