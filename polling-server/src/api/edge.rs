//! The edge of the API: what holds for every request and every answer.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::combinators::BoxBody;
use hyper::body::Body;
use poem::error::{MethodNotAllowedError, ParsePathError};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, PathPattern, Request, Response};
use polling_core::model::PollId;

use super::operations::MethodTable;
use super::polls::show_directly;
use super::problem::{Problem, response_of_status};
use super::problem_kind::ProblemKind;
use super::rate_limits::RateLimit;
use super::vote_desk::VoteDesk;
use super::votes::cast_directly;
use crate::transport::served::{Answered, Ends, Served};

/// The routes that have a way past poem, as its router would name them.
const VOTE_PATTERN: &str = "/polls/:poll_id/vote";
const POLL_PATTERN: &str = "/polls/:poll_id";

/// Answers every error of every layer by a problem document, HEAD wherever GET works, and panics by 500; and takes the busiest
/// requests past poem.
pub(crate) struct Edge<E> {
    inner: E,
    desk: Arc<VoteDesk>,
    methods: MethodTable,
    rate_limit: Option<RateLimit>,
}

/// A request that never becomes one of poem: that, and the dispatch through the document, would take as long as all the rest of it.
/// With the poll that the path names, or `None` for what cannot be the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortcut {
    /// `POST /polls/{id}/vote`.
    Vote(Option<PollId>),
    /// `GET /polls/{id}` without a query.
    Poll(Option<PollId>),
}

impl Shortcut {
    /// `None` for other requests, and for paths with escapes, which the router reads.
    fn of<B>(request: &hyper::Request<B>) -> Option<Self> {
        let rest = request.uri().path().strip_prefix("/polls/")?;
        let poll_of = |id: &str| match PollId::parse(id) {
            None if id.is_empty() || id.contains(['/', '%']) => None,
            poll => Some(poll),
        };
        match *request.method() {
            Method::POST => poll_of(rest.strip_suffix("/vote")?).map(Self::Vote),
            Method::GET if request.uri().query().is_none() => poll_of(rest).map(Self::Poll),
            _ => None,
        }
    }

    /// What the request is counted under.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Vote(_) => VOTE_PATTERN,
            Self::Poll(_) => POLL_PATTERN,
        }
    }
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// The edge around `inner`, whose paths take these methods.
    pub(crate) fn new(inner: E, desk: Arc<VoteDesk>, methods: MethodTable) -> Self {
        let rate_limit = RateLimit::of_addresses(desk.service().access.rates);
        Self { inner, desk, methods, rate_limit }
    }

    async fn answer_directly<B>(&self, request: hyper::Request<B>, shortcut: Shortcut) -> Response
    where
        B: Body<Data = Bytes> + Send,
    {
        let answered = match shortcut {
            Shortcut::Vote(poll) => cast_directly(&self.desk, request, poll).await,
            Shortcut::Poll(poll) => show_directly(self.desk.service(), request.headers(), poll).await,
        };
        answered.unwrap_or_else(Problem::into_response)
    }

    async fn answer_indirectly(&self, request: Request) -> Response {
        if *request.method() == Method::HEAD { self.answer_head(request).await } else { self.answer_by_router(request).await }
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
        // Only GET opens a socket (RFC 6455, section 4.1).
        let _no_socket = request.take_upgrade();
        let mut response = self.answer_by_router(request).await;
        let body: BoxBody<Bytes, io::Error> = response.take_body().into();
        // The body of a 304 is not that of the 200, whose length it would have to give (RFC 9110, section 8.6).
        if response.status() != StatusCode::NOT_MODIFIED
            && let Some(length) = body.size_hint().exact()
        {
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

impl<E: Endpoint<Output = Response> + 'static> Served for Edge<E> {
    fn answer<'a, B>(&'a self, request: hyper::Request<B>, ends: Ends<'a>) -> impl Future<Output = Answered> + Send + 'a
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static,
    {
        let shortcut = Shortcut::of(&request);
        let refused = self.rate_limit.as_ref().and_then(|limit| limit.admit_address(ends.client.ip()).err());
        // Boxed, because a future is moved several times on its way to the connection that polls it, and every connection keeps
        // room for one: without the box, for all that the longest way through the server needs.
        let answering: BoxFuture<'_, Response> = match (refused, shortcut) {
            (Some(problem), _) => Box::pin(std::future::ready(problem.into_response())),
            (None, Some(shortcut)) => Box::pin(self.answer_directly(request, shortcut)),
            (None, None) => Box::pin(self.answer_indirectly(ends.request(request))),
        };
        async move {
            let mut response = AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|panic| {
                tracing::error!(panic = panic_text(&*panic), "a handler panicked");
                Problem::new(ProblemKind::Internal).into_response()
            });
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Answered { response, pattern: shortcut.map(Shortcut::pattern) }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
