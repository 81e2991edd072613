//! One connection to the server, opened when needed: lean, because the load must not come from the client.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Failure, failure};

/// An answer is read up to this size: a poll of a hundred options has some 30 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    port: u16,
    /// For the Host header.
    authority: HeaderValue,
    /// What stands before every path: empty, or a prefix without its last slash.
    prefix: String,
    timeout: Duration,
}

impl Target {
    /// Reads a URL such as `http://127.0.0.1:8080`; a request that takes longer than `timeout` is given up.
    ///
    /// # Errors
    ///
    /// It is no URL of plain HTTP.
    pub fn parse(url: &str, timeout: Duration) -> Result<Self, Failure> {
        let wrong = |what: &str| failure(format!("the URL {url:?} cannot be used: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("it must begin with http://"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        Ok(Self {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("its host is no header value"))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            timeout,
        })
    }

    /// The target of a request for `path`.
    ///
    /// # Errors
    ///
    /// It is no path.
    pub fn path(&self, path: &str) -> Result<Uri, Failure> {
        format!("{}{path}", self.prefix).parse().map_err(|_| failure(format!("{path:?} is not a path")))
    }

    /// The address of a socket at `path`.
    #[must_use]
    pub fn socket_url(&self, path: &str) -> String {
        format!("ws://{}{}{path}", self.authority.to_str().unwrap_or_default(), self.prefix)
    }
}

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// How long to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Bytes,
}

/// No answer came: the request may have had its effect or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The connection could not be made or broke.
    Connection(String),
    /// The time was over.
    Timeout,
}

/// A connection that is made when it is needed, and again after it broke.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Makes no connection yet.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Where it leads.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// No whole answer came. The next request makes a new connection.
    ///
    /// # Cancellation
    ///
    /// The request may have had its effect; the next one makes a new connection.
    pub async fn send(&mut self, method: Method, uri: Uri, body: Option<Bytes>) -> Result<Answer, Broken> {
        let timeout = self.target.timeout;
        // Taken out, and put back only after a whole answer: whatever else happens, the connection is not used again.
        let sender = self.sender.take();
        let (answer, sender) =
            tokio::time::timeout(timeout, self.exchange(sender, method, uri, body)).await.map_err(|_| Broken::Timeout)??;
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn exchange(
        &self,
        sender: Option<SendRequest<Full<Bytes>>>,
        method: Method,
        uri: Uri,
        body: Option<Bytes>,
    ) -> Result<(Answer, SendRequest<Full<Bytes>>), Broken> {
        let mut sender = match sender {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        // The server may have closed the connection since its last answer.
        if sender.ready().await.is_err() {
            sender = self.connect().await?;
        }
        let mut request = Request::new(Full::new(body.clone().unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, self.target.authority.clone());
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let response = sender.send_request(request).await.map_err(|error| Broken::Connection(error.to_string()))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Broken::Connection(error.to_string()))?.to_bytes();
        Ok((Answer { status, retry_after: retry_after.map(Duration::from_secs), body }, sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Broken> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await;
        let stream = stream.map_err(|error| Broken::Connection(error.to_string()))?;
        // A vote is one small packet: nothing to wait for.
        stream.set_nodelay(true).map_err(|error| Broken::Connection(error.to_string()))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Broken::Connection(error.to_string()))?;
        tokio::spawn(async move {
            // Its end is seen by the sender.
            let _ended = connection.await;
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_taken() {
        let parse = |url| Target::parse(url, Duration::from_secs(1));
        assert!(parse("https://example.org").is_err());
        assert!(parse("127.0.0.1:8080").is_err());
        let target = parse("http://[::1]:8080/polling/").expect("sound");
        assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
        assert_eq!(target.path("/polls").expect("a path"), "/polling/polls");
        assert_eq!(target.socket_url("/x"), "ws://[::1]:8080/polling/x");
    }
}
