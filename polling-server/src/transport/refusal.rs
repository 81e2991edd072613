//! Answers to requests that never reach the API, or whose answers cannot leave it: RFC 9457 problems, like all others.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use poem::{IntoResponse, Response};

use crate::api::problem::{PROBLEM_MEDIA_TYPE, Problem, document_of_status, response_of_status};
use crate::api::problem_kind::ProblemKind;

/// When to ask again for what there was no room for: readers take seconds for what is large, or are given up after some more.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// Says so.
const NO_ROOM: &str = "Too much that is large is being sent just now.";

/// A problem as a response.
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Response {
    unsniffed(response_of_status(status, Some(detail)))
}

fn unsniffed(mut response: Response) -> Response {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A problem as a response after which the connection is closed, because what follows on it cannot be told from the request.
#[must_use]
pub fn last_problem(status: StatusCode, detail: &str) -> Response {
    last(problem(status, detail))
}

fn last(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// There is no room for a large answer.
#[must_use]
pub fn no_room_for_answer() -> Response {
    unsniffed(Problem::unavailable_for(ROOM_WAIT, NO_ROOM).into_response())
}

/// There is no room for a large body, which was not read, and nothing was done.
#[must_use]
pub fn no_room_for_body() -> Response {
    last(unsniffed(Problem::with_detail(ProblemKind::NotRecorded, NO_ROOM).into_response()))
}

/// A problem as the bytes of a whole HTTP/1.1 response, for a connection that no request was read from.
#[must_use]
pub fn problem_bytes(status: StatusCode) -> Bytes {
    let body = document_of_status(status, Some(explanation(status)));
    let head = format!(
        "HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        body.len(),
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&body);
    bytes.into()
}

/// What to tell the sender of something that is not a request we take.
#[must_use]
pub const fn explanation(status: StatusCode) -> &'static str {
    match status {
        StatusCode::REQUEST_TIMEOUT => "the request did not arrive in time",
        StatusCode::URI_TOO_LONG => "the request target is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request is too large",
        StatusCode::NOT_IMPLEMENTED => "of the transfer codings only chunked is known here",
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => "only HTTP/1.1 and HTTP/1.0 are spoken here",
        StatusCode::INTERNAL_SERVER_ERROR => "the request failed for a reason that is not yours",
        _ => "this is not a well-formed HTTP/1.1 request",
    }
}
