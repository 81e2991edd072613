//! Connections: how they are served, bounded, and ended.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use poem::http::StatusCode;
use poem::web::websocket::{Message, WebSocket};
use poem::web::{Data, Path};
use poem::{Body, EndpointExt, IntoResponse, Request, Response, Route, get, handler, post};
use polling_core::shutdown::Shutdown;
use polling_server::serve::{Drained, Limits, Transport, serve};
use polling_server::transport::client_address::{TrustedProxies, client_address, network};
use polling_server::transport::served::{Plain, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// How long anything may take that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How long to watch for something that must not happen.
const A_WHILE: Duration = Duration::from_millis(100);
const BODY_BYTES_MAX: usize = 1024;
/// Bytes of an answer that no system takes at once for a client that does not read.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// Lets a test and its handlers wait for each other.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // The test may have ended.
        let _ended = self.0.send(());
    }
}

#[handler]
async fn wait(gate: Data<&Gate>) -> &'static str {
    gate.entered.notify_one();
    gate.open.notified().await;
    "waited"
}

#[handler]
async fn echo(body: Body) -> poem::Result<Vec<u8>> {
    Ok(body.into_bytes_limit(BODY_BYTES_MAX).await?.to_vec())
}

#[handler]
async fn hello(Path(name): Path<String>) -> String {
    format!("hello {name}")
}

#[handler]
async fn where_from(request: &Request) -> String {
    client_address(request).to_string()
}

#[handler]
async fn panic() -> &'static str {
    panic!("on purpose")
}

#[handler]
async fn endless(dropped: Data<&mpsc::UnboundedSender<()>>) -> Response {
    let guard = Dropped(dropped.clone());
    let chunks = futures_util::stream::repeat_with(move || {
        let _held = &guard;
        Ok::<_, std::io::Error>(vec![0_u8; 65_536])
    });
    Body::from_bytes_stream(chunks).into_response()
}

#[handler]
async fn large() -> Vec<u8> {
    vec![0; LARGE_BYTES]
}

#[handler]
async fn echo_socket(socket: WebSocket) -> impl IntoResponse {
    socket.on_upgrade(|mut socket| async move {
        while let Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) = socket.next().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    gate: Gate,
    dropped: mpsc::UnboundedReceiver<()>,
    served: JoinHandle<Drained>,
}

pub(crate) fn transport() -> Transport {
    let limits = Limits {
        connections_max: 100,
        header_timeout: SOON * 3,
        body_timeout: SOON * 3,
        write_timeout: SOON * 3,
        write_bytes_per_second_min: NonZeroU64::MIN,
        large_bytes_max: LARGE_BYTES,
    };
    Transport { limits, origins: Vec::new(), proxies: TrustedProxies::default(), requests: None }
}

fn routes(gate: Gate, dropped: mpsc::UnboundedSender<()>) -> impl Served {
    let routes = Route::new()
        .at("/hello/:name", get(hello))
        .at("/client", get(where_from))
        .at("/wait", get(wait))
        .at("/echo", post(echo))
        .at("/panic", get(panic))
        .at("/endless", get(endless))
        .at("/large", get(large))
        .at("/socket", get(echo_socket))
        .data(gate)
        .data(dropped);
    Plain(routes)
}

/// One route, for tests that need no more.
pub(crate) fn hello_route() -> impl Served {
    Plain(Route::new().at("/counted/:name", get(hello)))
}

/// The whole answer to a GET request.
pub(crate) async fn get_text(address: SocketAddr, path: &str) -> String {
    let mut client = Client(TcpStream::connect(address).await.expect("accepted"));
    client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await;
    client.rest().await
}

impl Server {
    pub(crate) async fn start(transport: Transport, drain: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, gate, (sender, dropped)) = (Shutdown::new(), Gate::default(), mpsc::unbounded_channel());
        let served = tokio::spawn(serve(listener, routes(gate.clone(), sender), transport, shutdown.clone(), drain));
        Self { address, shutdown, gate, dropped, served }
    }

    pub(crate) async fn usual() -> Self {
        Self::start(transport(), SOON).await
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("accepted"))
    }

    /// Sends `bytes` on a connection of its own and reads until the server closes it.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    async fn drained(self) -> Drained {
        tokio::time::timeout(SOON, self.served).await.expect("drained in time").expect("no panic")
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(SOON, self.0.read_to_end(&mut bytes)).await.expect("closed in time");
        read.expect("closed without a reset");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One response with a `content-length`.
    pub(crate) async fn response(&mut self) -> String {
        tokio::time::timeout(SOON, self.read_response()).await.expect("answered in time")
    }

    async fn read_response(&mut self) -> String {
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return text;
                }
            }
            let byte = self.0.read_u8().await.expect("more of the response");
            text.push(char::from(byte));
        }
    }
}

pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

#[tokio::test]
async fn only_a_trusted_proxy_says_where_a_request_comes_from() {
    let forwarded =
        "GET /client HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 203.0.113.9, 198.51.100.1\r\nconnection: close\r\n\r\n";
    for (trusted, client) in [("127.0.0.1", "198.51.100.1"), ("127.0.0.2", "127.0.0.1")] {
        let proxies = TrustedProxies::new(network(trusted).into_iter().collect());
        let server = Server::start(Transport { proxies, ..transport() }, SOON).await;
        let answer = server.exchange(forwarded).await;
        assert!(answer.ends_with(&format!("\r\n{client}")), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = Server::usual().await;
    let mut client = server.connect().await;
    for name in ["ann", "bob"] {
        client.send(request("GET", &format!("/hello/{name}"))).await;
        assert!(client.response().await.ends_with(&format!("hello {name}")));
    }
}

#[tokio::test]
async fn requests_sent_together_are_answered_in_their_order() {
    let server = Server::usual().await;
    let mut client = server.connect().await;
    client.send([request("GET", "/hello/ann"), request("GET", "/hello/bob")].concat()).await;
    assert!(client.response().await.ends_with("hello ann"));
    assert!(client.response().await.ends_with("hello bob"));
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_disconnected() {
    let server = Server::usual().await;
    let answer = server.exchange("GET /hello/ann HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("hello ann"), "{answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_before_it_is_sent() {
    let server = Server::usual().await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    assert!(client.response().await.starts_with("HTTP/1.1 100 "));
    client.send("body").await;
    assert!(client.response().await.ends_with("\r\n\r\nbody"));
}

#[tokio::test]
async fn at_the_bound_a_connection_waits_for_another_one_to_end() {
    let mut transport = transport();
    transport.limits.connections_max = 1;
    let server = Server::start(transport, SOON).await;
    let mut first = server.connect().await;
    first.send(request("GET", "/hello/ann")).await;
    first.response().await;
    let mut second = server.connect().await;
    second.send(request("GET", "/hello/bob")).await;
    assert!(tokio::time::timeout(A_WHILE, second.read_response()).await.is_err(), "there is one place");
    drop(first);
    assert!(second.response().await.ends_with("hello bob"));
}

#[tokio::test]
async fn half_a_request_and_then_nothing_frees_the_place() {
    let mut transport = transport();
    transport.limits.connections_max = 1;
    let server = Server::start(transport, SOON).await;
    let mut first = server.connect().await;
    first.send("GET /hello/ann HTTP/1.1\r\nhos").await;
    first.0.shutdown().await.expect("half closed");
    assert_eq!(first.rest().await, "");
    assert!(server.exchange("GET /hello/bob HTTP/1.0\r\n\r\n").await.ends_with("hello bob"));
}

#[tokio::test]
async fn an_upgraded_connection_works_and_leaves_its_place() {
    let mut transport = transport();
    transport.limits.connections_max = 1;
    let server = Server::start(transport, SOON).await;
    let url = format!("ws://{}/socket", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("upgraded");
    socket.send("ping".into()).await.expect("sent");
    let echoed = socket.next().await.expect("a message").expect("sound");
    assert_eq!(echoed.into_text().expect("text").as_str(), "ping");
    assert!(server.exchange("GET /hello/bob HTTP/1.0\r\n\r\n").await.ends_with("hello bob"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let mut transport = transport();
    transport.limits.header_timeout = Duration::from_millis(50);
    let server = Server::start(transport, SOON).await;
    assert_eq!(server.exchange("").await, "");
    let mut client = server.connect().await;
    client.send(request("GET", "/hello/ann")).await;
    assert!(client.rest().await.ends_with("hello ann"));
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_given_up() {
    let mut transport = transport();
    transport.limits.write_timeout = Duration::from_millis(50);
    let mut server = Server::start(transport, SOON).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/endless")).await;
    tokio::time::timeout(SOON, server.dropped.recv()).await.expect("given up in time");
}

#[tokio::test]
async fn a_client_that_takes_a_little_now_and_then_is_given_up() {
    let mut transport = transport();
    transport.limits.write_timeout = A_WHILE * 5;
    transport.limits.write_bytes_per_second_min = NonZeroU64::MAX;
    let server = Server::start(transport, SOON).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("set");
    let mut client = Client(socket.connect(server.address).await.expect("accepted"));
    client.send(request("GET", "/large")).await;
    let (mut pause, mut taken) = (tokio::time::interval(A_WHILE / 20), 0);
    let reading = async {
        loop {
            pause.tick().await;
            match client.0.read(&mut [0; 4096]).await {
                Ok(0) | Err(_) => return taken,
                Ok(bytes) => taken += bytes,
            }
        }
    };
    let taken = tokio::time::timeout(SOON / 4, reading).await.expect("given up in time");
    assert!(taken < LARGE_BYTES, "{taken}");
}

#[tokio::test]
async fn large_answers_that_nobody_takes_keep_others_from_being_made() {
    let server = Server::usual().await;
    let mut silent = server.connect().await;
    silent.send(request("GET", "/large")).await;
    // Its head comes once the answer was made.
    silent.0.read_u8().await.expect("answered");
    let refused = server.exchange("GET /large HTTP/1.0\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.0 503 ") && refused.contains(r#""type":"/problems/unavailable""#), "{refused}");
    assert!(refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    assert!(server.exchange("GET /hello/ann HTTP/1.0\r\n\r\n").await.ends_with("hello ann"), "what is small is served");
    let body = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 20000\r\n\r\n";
    let refused = server.exchange(body).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains(r#""recorded":"no""#), "{refused}");
    assert!(refused.contains("\r\nconnection: close\r\n"), "{refused}");
    drop(silent);
    let made = async {
        while !server.exchange("GET /large HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 ") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, made).await.expect("made in time");
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = Server::usual().await;
    let answer = server.exchange(request("GET", "/panic")).await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(r#""type":"/problems/internal""#), "{answer}");
    assert!(server.exchange("GET /hello/bob HTTP/1.0\r\n\r\n").await.ends_with("hello bob"));
}

#[tokio::test]
async fn at_the_stop_a_request_in_flight_is_answered() {
    let server = Server::usual().await;
    let (mut client, gate) = (server.connect().await, server.gate.clone());
    client.send(request("GET", "/wait")).await;
    gate.entered.notified().await;
    let address = server.address;
    server.shutdown.request();
    refused(address).await;
    gate.open.notify_one();
    let answer = client.rest().await;
    assert!(answer.ends_with("waited") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.drained().await, Drained::Clean);
}

/// Waits until nobody listens any more.
async fn refused(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("refused in time");
}

#[tokio::test]
async fn at_the_stop_a_request_that_takes_too_long_is_cut() {
    let server = Server::start(transport(), Duration::from_millis(50)).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/wait")).await;
    server.gate.entered.notified().await;
    server.shutdown.request();
    assert_eq!(server.drained().await, Drained::Cut(1));
}

#[tokio::test]
async fn at_the_stop_nobody_waits_for_connections_without_a_request() {
    let server = Server::start(transport(), SOON * 3).await;
    let mut idle = server.connect().await;
    idle.send(request("GET", "/hello/ann")).await;
    idle.response().await;
    let mut silent = server.connect().await;
    server.shutdown.request();
    assert_eq!(idle.rest().await, "");
    // It was accepted or not; either way it ends.
    let _ended = silent.0.read(&mut [0]).await;
    assert_eq!(server.drained().await, Drained::Clean);
}

#[tokio::test]
async fn pages_of_listed_origins_may_use_the_api_and_no_others() {
    let mut transport = transport();
    transport.origins = vec!["https://one.example".parse().expect("text"), "https://two.example".parse().expect("text")];
    let server = Server::start(transport, SOON).await;
    let from = |origin: &str| format!("GET /hello/ann HTTP/1.0\r\norigin: {origin}\r\n\r\n");
    let listed = server.exchange(from("https://two.example")).await;
    for line in
        ["access-control-allow-origin: https://two.example\r\n", "access-control-allow-credentials: true\r\n", "vary: origin"]
    {
        assert!(listed.contains(line), "{line} in {listed}");
    }
    for header in ["location", "etag", "retry-after", "preference-applied"] {
        let exposed = listed.lines().find(|line| line.starts_with("access-control-expose-headers: ")).expect("exposes");
        assert!(exposed.contains(header), "{header} in {exposed}");
    }
    let other = server.exchange(from("https://evil.example")).await;
    assert!(!other.contains("evil") && !other.contains("allow-credentials"), "{other}");
    assert!(other.contains("vary: origin"), "{other}");
    let preflight = "OPTIONS /hello/ann HTTP/1.0\r\norigin: https://one.example\r\naccess-control-request-method: POST\r\n\r\n";
    let preflight = server.exchange(preflight).await;
    assert!(preflight.starts_with("HTTP/1.0 200 ") && preflight.contains("access-control-allow-methods: "), "{preflight}");
    assert!(preflight.contains("\r\nx-content-type-options: nosniff\r\n"), "{preflight}");
    assert!(preflight.lines().any(|line| line.starts_with("access-control-allow-headers: ") && line.contains("x-api-key")));
}

#[tokio::test]
async fn without_listed_origins_nothing_is_said_about_them() {
    let server = Server::usual().await;
    let answer = server.exchange("GET /hello/ann HTTP/1.0\r\norigin: https://one.example\r\n\r\n").await;
    assert!(!answer.contains("access-control") && !answer.contains("vary"), "{answer}");
    let refused = StatusCode::METHOD_NOT_ALLOWED.as_u16().to_string();
    assert!(server.exchange("OPTIONS /hello/ann HTTP/1.0\r\n\r\n").await.contains(&refused));
}
