//! What a listener serves: whatever answers requests as they come from hyper.
//!
//! Making a request of poem out of one of hyper, and routing it, takes about as long as the work that most requests need. So what is
//! served here is not an endpoint but something that may be made of one, and that can answer its busiest requests before.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Body;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, IntoResponse, Request, RequestParts, Response};

use super::flow::Flow;

/// The two ends of the connection that a request came on.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// The address that was connected to.
    pub local: &'a LocalAddr,
    /// Where the request comes from, as far as the proxies in between are trusted.
    pub client: SocketAddr,
    /// For an answer without an end.
    pub flow: &'a Flow,
}

impl Ends<'_> {
    /// The request as endpoints of poem take it.
    pub fn request<B>(self, request: hyper::Request<B>) -> Request
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static,
    {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::GET {
            // The only method that has answers without an end.
            parts.extensions.insert(self.flow.clone());
        }
        let body = if body.is_end_stream() { poem::Body::empty() } else { body.boxed().into() };
        let parts = RequestParts::from((parts, self.local.clone(), RemoteAddr(self.client.into()), Scheme::HTTP));
        Request::from_parts(parts, body)
    }
}

/// An answer, and what it is counted under.
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// The pattern of the route, where the router of poem was not asked; else the response has it among its data.
    pub pattern: Option<&'static str>,
}

/// Answers requests.
pub trait Served: Send + Sync + 'static {
    /// Answers a request that came between these ends. Dropping the future is what a client does that hangs up.
    fn answer<'a, B>(&'a self, request: hyper::Request<B>, ends: Ends<'a>) -> impl Future<Output = Answered> + Send + 'a
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static;
}

/// An endpoint of poem that answers all its requests as such.
#[derive(Debug, Clone)]
pub struct Plain<E>(pub E);

impl<E: Endpoint + 'static> Served for Plain<E> {
    async fn answer<'a, B>(&'a self, request: hyper::Request<B>, ends: Ends<'a>) -> Answered
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static,
    {
        let answered = self.0.call(ends.request(request)).await;
        let response = answered.map_or_else(poem::Error::into_response, IntoResponse::into_response);
        Answered { response, pattern: None }
    }
}
