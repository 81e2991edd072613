//! The accept loop: HTTP/1.1 connections for whatever is served, each within bounds.
//!
//! poem's own server spins when file descriptors run out, waits for ever for the rest of a request, and leaves Nagle's
//! algorithm on; hence this loop over hyper, which serves the same endpoints and more.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::{StatusCode, Uri, Version};
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use poem::PathPattern;
use poem::web::LocalAddr;
use polling_core::retry::Pauses;
use polling_core::shutdown::Shutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::transport::body::{Fate, TimelyBody};
use crate::transport::client_address::TrustedProxies;
use crate::transport::cors;
use crate::transport::flow::Flow;
use crate::transport::refusal::{explanation, last_problem, no_room_for_body, problem_bytes};
use crate::transport::requests::{Requests, method_number};
use crate::transport::room::Room;
use crate::transport::served::{Answered, Ends, Served};
use crate::transport::wire::{Pace, Wire};

/// Bytes of a request's head with its first line, at most: cookies and tokens fit, floods do not. Beyond it: 431. hyper
/// itself refuses more than 100 fields with the same status.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request target, at most: the longest of ours has a receipt and a cursor, some hundred. Beyond it: 414.
const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes that hyper buffers for a connection in each direction, at most. It grows to this only while a body is large.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a silent peer is taken to be there: then it is probed, and given up when that too brings no answer.
const PEER_SILENCE: Duration = Duration::from_secs(30);
/// Bytes that the system keeps for a connection without having sent them, at most: a frame or some. By itself it keeps up to 4 MB, so a
/// reader that takes a byte a second would be shown what was true an hour ago, and some hundreds of them would have all the memory that
/// a machine has for TCP. At the bound the connection waits until half of it was sent, and the deadlines for slow readers decide: who
/// takes a kilobyte a second keeps within them, and skips what is outdated.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES_MAX: u32 = 4 * 1024;
/// Connections that are accepted before whatever else is ready has its turn: when a crowd comes at once, those who
/// are there already are not kept waiting until all of it was welcomed.
const ACCEPTED_IN_A_TURN: usize = 8;
/// How long to listen on after the last answer, so that a client in the midst of sending can read it before the reset.
const LINGER: Duration = Duration::from_secs(1);
/// How much to listen to then.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Bounds of every connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. At the bound no more are accepted; they wait in the system's queue. An upgraded connection
    /// does not count any more, nor does one with a stream of events: what they turned into has bounds of its own.
    pub connections_max: usize,
    /// From the first wait for a request to the end of its head. So it is also how long a connection may be idle.
    pub header_timeout: Duration,
    /// From the first wait for a body to its end. Beyond it: 408.
    pub body_timeout: Duration,
    /// How long a client may take no byte of an answer.
    pub write_timeout: Duration,
    /// How many bytes of an answer it has to take in a second, on the average and beside that time. Not of what has no end.
    pub write_bytes_per_second_min: NonZeroU64,
    /// Bytes of large answers that were not taken yet, and of large bodies of requests in hand, of all connections together. Beyond it: 503.
    pub large_bytes_max: usize,
}

/// How requests are taken.
#[derive(Clone)]
pub struct Transport {
    /// Bounds of every connection.
    pub limits: Limits,
    /// Origins whose pages may use what is served from a browser, beside its own.
    pub origins: Vec<HeaderValue>,
    /// Whose word is taken for the address that a request comes from.
    pub proxies: TrustedProxies,
    /// Counts the requests, if given.
    pub requests: Option<Arc<Requests>>,
}

/// How the last connections ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Clean,
    /// So many connections were cut because time was over.
    Cut(usize),
}

/// Serves `served` on `listener` until `shutdown` is requested. Then it accepts no more, gives requests that have begun up
/// to `drain`, and cuts the rest. Upgraded connections are not waited for: they belong to what is served.
///
/// Dropping the future cuts nothing: open connections go on in tasks of their own until they end by themselves.
pub async fn serve<S>(listener: TcpListener, served: S, transport: Transport, shutdown: Shutdown, drain: Duration) -> Drained
where
    S: Served,
{
    let server = Server {
        cors: cors::layer(&transport.origins),
        http: http(&transport.limits),
        shared: Arc::new(Shared {
            served,
            requests: transport.requests,
            proxies: transport.proxies,
            body_timeout: transport.limits.body_timeout,
            room: Room::new(transport.limits.large_bytes_max),
        }),
        limits: transport.limits,
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(transport.limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let mut pauses = Pauses::default();
    let mut accepted_in_turn = 0;
    loop {
        if accepted_in_turn == ACCEPTED_IN_A_TURN {
            accepted_in_turn = 0;
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                pauses.reset();
                accepted_in_turn += 1;
                connections.spawn(server.connection(stream, place));
            }
            Err(error) => {
                // Out of file descriptors, mostly: accepting at once again would fail again and burn a core.
                metrics::counter!("polling_http_accept_errors_total").increment(1);
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                tokio::select! {
                    () = shutdown.requested() => break,
                    () = tokio::time::sleep(pauses.next_pause()) => {}
                }
            }
        }
    }
    // From here on a new connection is refused, rather than left in a queue that nobody looks at.
    drop(listener);
    server.stop.cancel();
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_ok() {
        return Drained::Clean;
    }
    let cut = connections.len();
    server.cut.cancel();
    connections.wait().await;
    if cut == 0 { Drained::Clean } else { Drained::Cut(cut) }
}

/// Waits for a place, and then for a connection to give it to.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, place)),
            // The client gave up while it waited; that says nothing about the next one.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // A client may end its side once the request is sent, as `nc -N` does, and still wants the answer.
        .half_close(true)
        .header_read_timeout(limits.header_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    http
}

/// What all connections share.
struct Server<S> {
    shared: Arc<Shared<S>>,
    http: http1::Builder,
    cors: Option<cors::Layer<BoxBody<Bytes, std::io::Error>>>,
    limits: Limits,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl<S: Served> Server<S> {
    /// The life of a connection; it has `place` until its end, its upgrade, or an answer without an end.
    fn connection(&self, stream: TcpStream, place: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send + 'static {
        let (http, cors, limits) = (self.http.clone(), self.cors.clone(), self.limits);
        // Each has its own, because looking at a token takes its lock, and all connections do that at every event.
        let (shared, stop, cut) = (Arc::clone(&self.shared), self.stop.child_token(), self.cut.child_token());
        async move {
            let flow = Flow::over(place);
            let Ok(peer) = Peer::of(&stream, flow.clone()) else { return };
            let peer = Arc::new(peer);
            let service = tower::service_fn(move |request| {
                let (shared, peer) = (Arc::clone(&shared), Arc::clone(&peer));
                async move { Ok::<_, Infallible>(shared.respond(request, &peer).await) }
            });
            let service = TowerToHyperService::new(tower::util::option_layer(cors).layer(service));
            let pace = Pace { stall_timeout: limits.write_timeout, bytes_per_second_min: limits.write_bytes_per_second_min };
            let wire = Wire::new(stream, pace, flow.clone());
            let mut connection = http.serve_connection(wire, service).with_upgrades();
            let ended = tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = stop.cancelled() => {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = &mut connection => ended,
                        () = cut.cancelled() => return,
                    }
                }
            };
            if let Some(parts) = connection.into_parts() {
                // Boxed: it needs more room than the whole life before it, which every open connection would hold ready.
                let linger = Box::pin(part_with(parts.io, &parts.read_buf, ended, stop.is_cancelled()));
                // The bound is for a client that neither reads nor closes.
                let _time_is_over = tokio::time::timeout(LINGER, linger).await;
            }
            flow.give_up_place();
        }
    }
}

/// Ends a connection: sends the problem, if hyper found one that nobody behind it heard of, and lets the client read what
/// was sent last. A reset, which closing with unread input causes, would take it away again.
async fn part_with(wire: Wire, unread: &[u8], ended: hyper::Result<()>, hurry: bool) {
    let problem = problem_of(&wire, unread, ended.as_ref().err());
    if ended.is_err() && problem.is_none() {
        return;
    }
    let mut stream = wire.into_stream();
    if let Some(status) = problem {
        metrics::counter!("polling_http_refused_total", "status" => status.as_str().to_owned()).increment(1);
        if stream.write_all(&problem_bytes(status)).await.is_err() {
            return;
        }
    }
    if hurry || stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = [0_u8; 4096];
    let mut heard = 0;
    while heard < LINGER_BYTES_MAX {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => heard += bytes,
        }
    }
}

fn problem_of(wire: &Wire, unread: &[u8], error: Option<&hyper::Error>) -> Option<StatusCode> {
    if let Some(status) = wire.refusal() {
        let first_line = unread.iter().position(|&byte| byte == b'\n').unwrap_or(unread.len());
        let too_long = status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE && first_line > TARGET_BYTES_MAX;
        return Some(if too_long { StatusCode::URI_TOO_LONG } else { status });
    }
    let error = error.filter(|_| wire.is_between_writes())?;
    if error.is_parse_version_h2() {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    // A connection that was merely idle is closed without a word.
    (error.is_timeout() && !unread.is_empty()).then_some(StatusCode::REQUEST_TIMEOUT)
}

/// The two ends of a connection, and what it knows of the request in hand.
struct Peer {
    local: LocalAddr,
    remote: SocketAddr,
    fate: Fate,
    flow: Flow,
}

impl Peer {
    fn of(stream: &TcpStream, flow: Flow) -> std::io::Result<Self> {
        let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
        // An answer is written at once and whole: waiting for more of it only delays it.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        // A peer that vanished without a word would otherwise be kept for hours.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PEER_SILENCE).with_interval(PEER_SILENCE / 3).with_retries(3))?;
        Ok(Self { local: LocalAddr(local.into()), remote, fate: Fate::default(), flow })
    }
}

/// What all requests share.
struct Shared<S> {
    served: S,
    requests: Option<Arc<Requests>>,
    proxies: TrustedProxies,
    body_timeout: Duration,
    room: Room,
}

type HttpResponse = hyper::Response<BoxBody<Bytes, std::io::Error>>;

impl<S: Served> Shared<S> {
    async fn respond(&self, request: hyper::Request<Incoming>, peer: &Peer) -> HttpResponse {
        let Some(requests) = &self.requests else { return self.answer(request, peer).await.response.into() };
        let (started, method) = (Instant::now(), method_number(request.method()));
        let Answered { response, pattern } = self.answer(request, peer).await;
        let pattern = pattern.or_else(|| response.data::<PathPattern>().map(|pattern| &*pattern.0));
        requests.count(method, pattern, response.status(), started);
        response.into()
    }

    async fn answer(&self, request: hyper::Request<Incoming>, peer: &Peer) -> Answered {
        if target_bytes(request.uri()) > TARGET_BYTES_MAX {
            return refused(StatusCode::URI_TOO_LONG, explanation(StatusCode::URI_TOO_LONG));
        }
        if !names_one_host(&request) {
            return refused(StatusCode::BAD_REQUEST, "a request must have exactly one Host");
        }
        if !knows_coding(&request) {
            return refused(StatusCode::NOT_IMPLEMENTED, explanation(StatusCode::NOT_IMPLEMENTED));
        }
        let Ok(_body_room) = self.room.for_body(&request.body().size_hint()) else {
            return Answered { response: no_room_for_body(), pattern: None };
        };
        let is_safe = request.method().is_safe();
        let client = SocketAddr::new(self.proxies.client(peer.remote.ip(), request.headers()), peer.remote.port());
        let ends = Ends { local: &peer.local, client, flow: &peer.flow };
        let request = request.map(|incoming| TimelyBody::new(incoming, self.body_timeout, peer.fate.clone()));
        let answer = AssertUnwindSafe(self.served.answer(request, ends)).catch_unwind().await;
        if peer.fate.take_left() {
            // hyper needs a moment to see that it has to read the rest, or, where that is still to come, that the connection must end.
            // Answered before, the client is not told of the end, and loses the request that it sends next.
            tokio::task::yield_now().await;
        }
        let late = peer.fate.take_late();
        match answer {
            // What was made of the error says less than the reason.
            Ok(Answered { response, pattern }) if late && !response.status().is_success() => {
                let mut problem = last_problem(StatusCode::REQUEST_TIMEOUT, explanation(StatusCode::REQUEST_TIMEOUT));
                if let Some(pattern) = response.data::<PathPattern>() {
                    problem.set_data(pattern.clone());
                }
                Answered { response: problem, pattern }
            }
            Ok(Answered { response, pattern }) => Answered { response: self.room.hold(response, is_safe).await, pattern },
            // The panic itself was logged by the hook.
            Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, explanation(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

fn refused(status: StatusCode, detail: &str) -> Answered {
    Answered { response: last_problem(status, detail), pattern: None }
}

/// What RFC 9112 asks of every request in section 3.2, so that all on its way take it to be for the same host.
fn names_one_host(request: &hyper::Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_named = hosts.next().is_some() || request.version() < Version::HTTP_11;
    is_named && hosts.next().is_none()
}

/// Whether the body comes as it is or in chunks: of other codings RFC 9112 says, in section 6.1, that they must not be guessed.
fn knows_coding(request: &hyper::Request<Incoming>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

fn target_bytes(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |target| target.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_leave_at_once_and_vanished_peers_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        Peer::of(&stream, Flow::default()).expect("connected");
        assert!(stream.nodelay().expect("read"));
        assert!(SockRef::from(&stream).keepalive().expect("read"));
    }
}
