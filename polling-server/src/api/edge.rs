//! The outermost endpoint: what holds for every request and every answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use poem::error::{MethodNotAllowedError, ParsePathError};
use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, IntoResponse, PathPattern, Request, Response};
use polling_core::model::PollId;

use super::operations::MethodTable;
use super::problem::{Problem, response_of_status};
use super::problem_kind::ProblemKind;
use super::vote_desk::VoteDesk;
use super::votes::cast_directly;

/// The route that votes take past the router, as the router would name it.
const VOTE_PATTERN: &str = "/polls/:poll_id/vote";

/// Answers every error of every layer by a problem document, HEAD wherever GET works, and panics by 500; and takes the votes past
/// the router.
pub(crate) struct Edge<E> {
    inner: E,
    desk: Arc<VoteDesk>,
    methods: MethodTable,
    vote_pattern: PathPattern,
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// The edge around `inner`, whose paths take these methods.
    pub(crate) fn new(inner: E, desk: Arc<VoteDesk>, methods: MethodTable) -> Self {
        Self { inner, desk, methods, vote_pattern: PathPattern(VOTE_PATTERN.into()) }
    }

    /// `vote_for` is the poll of a vote that goes past the router.
    async fn answer(&self, request: Request, vote_for: Option<Option<PollId>>) -> Response {
        if let Some(poll) = vote_for {
            return cast_directly(&self.desk, request, poll).await.unwrap_or_else(Problem::into_response);
        }
        if *request.method() == Method::HEAD {
            return Box::pin(self.answer_head(request)).await;
        }
        self.answer_by_router(request).await
    }

    async fn answer_by_router(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        match self.inner.call(request).await {
            Ok(response) => response,
            Err(error) => {
                let pattern = error.data::<PathPattern>().cloned();
                let mut response = self.describe(error, &path);
                if let Some(pattern) = pattern {
                    response.set_data(pattern);
                }
                response
            }
        }
    }

    /// GET without its body; the length stays.
    async fn answer_head(&self, mut request: Request) -> Response {
        request.set_method(Method::GET);
        let mut response = self.answer_by_router(request).await;
        let body: http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error> = response.take_body().into();
        if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }

    /// Makes a problem of an error, and keeps the pattern of the route that it comes from.
    fn describe(&self, error: poem::Error, path: &str) -> Response {
        let pattern = error.data::<PathPattern>().cloned();
        let mut response = self.problem_of(error, path);
        if let Some(pattern) = pattern {
            response.set_data(pattern);
        }
        response
    }

    fn problem_of(&self, error: poem::Error, path: &str) -> Response {
        if error.is_from_response() || error.is::<Problem>() {
            return error.into_response();
        }
        if error.is::<MethodNotAllowedError>() {
            return Problem::method_not_allowed(self.methods.allow(path).to_owned()).into_response();
        }
        // A path that cannot be decoded names nothing.
        if error.is::<ParsePathError>() || error.is::<poem_openapi::error::ParsePathError>() {
            return Problem::new(ProblemKind::NotFound).into_response();
        }
        match error.status() {
            status if status.is_server_error() => {
                tracing::error!(%error, "a handler failed");
                Problem::new(ProblemKind::Internal).into_response()
            }
            status => response_of_status(status, None),
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let vote_for = poll_of_vote(&request);
        let mut response = match AssertUnwindSafe(self.answer(request, vote_for)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                tracing::error!(panic = panic_text(&*panic), "a handler panicked");
                Problem::new(ProblemKind::Internal).into_response()
            }
        };
        if vote_for.is_some() {
            response.set_data(self.vote_pattern.clone());
        }
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }
}

/// The poll in a request to `POST /polls/{id}/vote`; `None` for others, and for paths with escapes, which the router reads.
fn poll_of_vote(request: &Request) -> Option<Option<PollId>> {
    if *request.method() != Method::POST {
        return None;
    }
    let id = request.uri().path().strip_prefix("/polls/")?.strip_suffix("/vote")?;
    (!id.is_empty() && !id.contains(['/', '%'])).then(|| PollId::parse(id))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
