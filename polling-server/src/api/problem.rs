//! Problem documents (RFC 9457): the one form of every error of every layer.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use polling_core::sink::SinkError;
use polling_core::store::StoreError;
use serde::Serialize;

use super::problem_kind::ProblemKind;

/// Errors that one problem lists at most: enough for a person, and no amplifier for a hostile body.
pub const FIELD_ERRORS_MAX: usize = 1000;
/// What a client is asked to wait after a 503: the store and the log recover within seconds or not at all.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// Requests, and votes of a batch, that failed and not by a fault of theirs.
pub const FAILURES: &str = "polling_failures_total";
/// The media type of problem documents.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where in the body, as a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<&'static str>,
    /// What is wrong, completing "the value …".
    pub detail: Cow<'static, str>,
}

impl FieldError {
    /// Something wrong in the body.
    #[must_use]
    pub fn at(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// Something wrong with a query parameter.
    #[must_use]
    pub fn of_parameter(parameter: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: None, parameter: Some(parameter), detail: detail.into() }
    }
}

/// An error as it is told to a client. Holds nothing that a client must not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    allow: Option<String>,
    retry_after_seconds: u32,
    set_cookie: Option<HeaderValue>,
}

/// The members of a problem document.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    pub(crate) problem_type: Cow<'static, str>,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<&'static str>,
}

impl Problem {
    /// A problem without particulars.
    #[must_use]
    pub const fn new(kind: ProblemKind) -> Self {
        Self { kind, detail: None, errors: Vec::new(), allow: None, retry_after_seconds: RETRY_AFTER_SECONDS, set_cookie: None }
    }

    /// A problem with what is particular about this occurrence, in a sentence.
    #[must_use]
    pub fn with_detail(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(kind) }
    }

    /// Everything that is wrong with a request; of more than [`FIELD_ERRORS_MAX`], the first.
    #[must_use]
    pub fn validation(mut errors: Vec<FieldError>) -> Self {
        errors.truncate(FIELD_ERRORS_MAX);
        Self { errors, ..Self::new(ProblemKind::Validation) }
    }

    /// The path takes only these methods.
    #[must_use]
    pub fn method_not_allowed(allow: String) -> Self {
        Self { allow: Some(allow), ..Self::new(ProblemKind::MethodNotAllowed) }
    }

    /// The client has used up its share and gets a new one after this time.
    #[must_use]
    pub fn rate_limited(wait: Duration) -> Self {
        Self { retry_after_seconds: whole_seconds(wait), ..Self::new(ProblemKind::RateLimited) }
    }

    /// What is asked for cannot be had before this time has passed.
    #[must_use]
    pub fn unavailable_for(wait: Duration, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { retry_after_seconds: whole_seconds(wait), ..Self::with_detail(ProblemKind::Unavailable, detail) }
    }

    /// What a failed read is to a client; `None`: it took too long. The cause goes into the log and nowhere else.
    #[must_use]
    pub fn of_failed_read(error: Option<&StoreError>) -> Self {
        let is_damaged = error.is_some_and(|error| !error.is_retryable());
        let kind = if is_damaged { ProblemKind::Internal } else { ProblemKind::Unavailable };
        Self::of_failure(kind, "a read failed", error.map(|error| error as &dyn Error))
    }

    /// What a failed change is to a client; `None`: it took too long. The cause goes into the log and nowhere else.
    #[must_use]
    pub fn of_failed_write(error: Option<&StoreError>) -> Self {
        let kind = match error {
            Some(StoreError::Unavailable(_)) => ProblemKind::NotRecorded,
            Some(StoreError::Unknown(_)) | None => ProblemKind::OutcomeUnknown,
            Some(_) => ProblemKind::Internal,
        };
        Self::of_failure(kind, "a change failed", error.map(|error| error as &dyn Error))
    }

    /// What a vote that the log did not acknowledge is to a client; `None`: it took too long.
    #[must_use]
    pub fn of_failed_record(error: Option<&SinkError>) -> Self {
        let kind = match error {
            Some(SinkError::NotRecorded { .. }) => ProblemKind::NotRecorded,
            Some(SinkError::Unknown { .. }) | None => ProblemKind::OutcomeUnknown,
        };
        Self::of_failure(kind, "a vote was not acknowledged", error.map(|error| error as &dyn Error))
    }

    /// Counts the failure. That something is away is logged once, by whoever watches over it, and not once for each request that needs it;
    /// what is damaged is seen by those requests alone.
    fn of_failure(kind: ProblemKind, what: &'static str, cause: Option<&(dyn Error + 'static)>) -> Self {
        metrics::counter!(FAILURES, "problem" => kind.facts().name).increment(1);
        if kind == ProblemKind::Internal {
            tracing::error!(error = cause, "{what}");
        } else {
            tracing::debug!(error = cause, "{what}");
        }
        Self::new(kind)
    }

    /// The same problem, handing the browser its cookie, so that a second attempt comes from the same voter.
    #[must_use]
    pub fn with_cookie(self, set_cookie: Option<HeaderValue>) -> Self {
        Self { set_cookie, ..self }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// Everything that is wrong with the request, of a [`ProblemKind::Validation`].
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The document.
    pub(crate) fn body(&self) -> ProblemBody<'_> {
        let facts = self.kind.facts();
        ProblemBody {
            problem_type: problem_type(self.kind),
            title: facts.title,
            status: facts.status.as_u16(),
            detail: self.detail.as_deref(),
            errors: &self.errors,
            recorded: match self.kind {
                ProblemKind::NotRecorded => Some("no"),
                ProblemKind::OutcomeUnknown => Some("unknown"),
                _ => None,
            },
        }
    }

    /// The problem as JSON, for a place within another document.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.body()).unwrap_or_default()
    }
}

/// Whole seconds, at least one: what `Retry-After` can say.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

fn problem_type(kind: ProblemKind) -> Cow<'static, str> {
    format!("/problems/{}", kind.facts().name).into()
}

/// The document of a problem of which the status says what there is to say: of the kind that the status names, or else of the
/// type `about:blank` with the title of the status, as RFC 9457 has it.
#[must_use]
pub fn document_of_status(status: StatusCode, detail: Option<&str>) -> Vec<u8> {
    let (problem_type, title) = match ProblemKind::of_status(status) {
        Some(kind) => (problem_type(kind), kind.facts().title),
        None => ("about:blank".into(), status.canonical_reason().unwrap_or("Error")),
    };
    let body = ProblemBody { problem_type, title, status: status.as_u16(), detail, errors: &[], recorded: None };
    // Texts and a number always serialise.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// [`document_of_status`] as a response.
#[must_use]
pub fn response_of_status(status: StatusCode, detail: Option<&str>) -> Response {
    respond(status, document_of_status(status, detail))
}

fn respond(status: StatusCode, document: Vec<u8>) -> Response {
    Response::builder().status(status).content_type(PROBLEM_MEDIA_TYPE).header(header::CACHE_CONTROL, "no-store").body(document)
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.detail.as_deref().unwrap_or(self.kind.facts().meaning))
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.facts().status
    }

    fn as_response(&self) -> Response {
        let mut response = respond(self.status(), serde_json::to_vec(&self.body()).unwrap_or_default());
        let headers = response.headers_mut();
        match self.kind {
            ProblemKind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::NotRecorded | ProblemKind::OutcomeUnknown | ProblemKind::Unavailable | ProblemKind::RateLimited => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_seconds));
            }
            _ => {}
        }
        if let Some(allow) = self.allow.as_deref().and_then(|methods| HeaderValue::from_str(methods).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(cookie) = &self.set_cookie {
            headers.insert(header::SET_COOKIE, cookie.clone());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.as_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: StatusCode) -> (String, String, u64) {
        let document: serde_json::Value = serde_json::from_slice(&document_of_status(status, None)).expect("JSON");
        let text = |name: &str| document[name].as_str().expect("a text").to_owned();
        (text("type"), text("title"), document["status"].as_u64().expect("a number"))
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_too_short() {
        assert_eq!([0, 1, 999, 1000, 1001].map(|millis| whole_seconds(Duration::from_millis(millis))), [1, 1, 1, 1, 2]);
    }

    #[test]
    fn a_status_alone_leads_to_a_page_only_when_that_page_says_the_same_status() {
        for status in (400..600).filter_map(|status| StatusCode::from_u16(status).ok()) {
            let (name, title, number) = of(status);
            assert_eq!(number, u64::from(status.as_u16()));
            match name.strip_prefix("/problems/") {
                Some(name) => {
                    let facts = ProblemKind::parse(name).expect("a page").facts();
                    assert_eq!((facts.status, facts.title), (status, title.as_str()));
                }
                None => {
                    assert_eq!((name.as_str(), title.as_str()), ("about:blank", status.canonical_reason().unwrap_or("Error")));
                }
            }
        }
        for status in [408, 414, 426, 431] {
            assert_eq!(of(StatusCode::from_u16(status).expect("a status")).0, "about:blank");
        }
        assert_eq!(of(StatusCode::PAYLOAD_TOO_LARGE).0, "/problems/too-large");
    }
}
