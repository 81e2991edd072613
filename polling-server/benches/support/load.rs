//! A lean load: connections that are kept alive, each sending its next request when it has its answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Hexadecimal digits of the number in a request.
pub(crate) const DIGITS: usize = 12;
/// Stands where a request is to have its number.
pub(crate) const NUMBER: &str = "############";

/// A request that was made beforehand but for its number.
pub(crate) struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    /// A request with `body`; no body is a GET. Every [`NUMBER`] in it becomes the number of the request.
    pub(crate) fn new(target: &str, body: &str) -> Self {
        let text = if body.is_empty() {
            format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n\r\n")
        } else {
            let length = body.len();
            format!(
                "POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
        };
        let places = text.match_indices(NUMBER).map(|(place, _)| place).collect();
        Self { bytes: text.into_bytes(), places }
    }

    fn write(&self, number: u64, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(&self.bytes);
        for &place in &self.places {
            let mut rest = number;
            for digit in request[place..place + DIGITS].iter_mut().rev() {
                *digit = b"0123456789abcdef"[(rest % 16) as usize];
                rest /= 16;
            }
        }
    }
}

/// What a number of requests took.
pub(crate) struct Measured {
    /// From the first request to the last answer.
    pub(crate) duration: Duration,
    /// Microseconds from a request to its answer.
    pub(crate) latency: Histogram<u64>,
}

/// Connections to a server.
pub(crate) struct Load {
    connections: Vec<Connection>,
    templates: Rc<Vec<Template>>,
    next_number: Rc<Cell<u64>>,
}

impl Load {
    /// Opens the connections. Requests get the numbers from `first_number` on, and follow the templates in turn.
    pub(crate) async fn open(server: SocketAddr, connections: usize, templates: Rc<Vec<Template>>, first_number: u64) -> Self {
        let mut opened = Vec::with_capacity(connections);
        for _ in 0..connections {
            opened.push(Connection::open(server).await);
        }
        Self { connections: opened, templates, next_number: Rc::new(Cell::new(first_number)) }
    }

    /// The number that no request has had yet.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.get()
    }

    /// Sends so many requests, each of which must be answered with success.
    pub(crate) async fn run(&mut self, requests: u64) -> Measured {
        let started = Instant::now();
        let last = self.next_number.get() + requests;
        let local = LocalSet::new();
        let latency = Rc::new(RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3).expect("sound bounds")));
        let send = |connection: Connection| {
            let (templates, next, latency) = (Rc::clone(&self.templates), Rc::clone(&self.next_number), Rc::clone(&latency));
            local.spawn_local(connection.run(templates, next, last, latency))
        };
        let tasks: Vec<_> = std::mem::take(&mut self.connections).into_iter().map(send).collect();
        for connection in local.run_until(join_all(tasks)).await {
            self.connections.push(connection.expect("every request is answered"));
        }
        let duration = started.elapsed();
        Measured { duration, latency: Rc::try_unwrap(latency).expect("every connection is done").into_inner() }
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("connected");
        Self { stream, request: Vec::new(), answer: vec![0; 64 * 1024] }
    }

    async fn run(
        mut self,
        templates: Rc<Vec<Template>>,
        next: Rc<Cell<u64>>,
        last: u64,
        latency: Rc<RefCell<Histogram<u64>>>,
    ) -> Self {
        while next.get() < last {
            let number = next.replace(next.get() + 1);
            templates[number as usize % templates.len()].write(number, &mut self.request);
            let sent = Instant::now();
            self.exchange().await;
            latency.borrow_mut().saturating_record(sent.elapsed().as_micros() as u64);
        }
        self
    }

    /// Sends the request and waits for the whole of its answer; answers where the body begins and ends.
    async fn exchange(&mut self) -> std::ops::Range<usize> {
        self.stream.write_all(&self.request).await.expect("the server takes it");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.answer[filled..]).await.expect("the server answers");
            assert!(read > 0, "the server hung up");
            filled += read;
            if let Some(body) = body_of(&self.answer[..filled])
                && body.end <= filled
            {
                assert!(self.answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&self.answer[..filled]));
                return body;
            }
        }
    }
}

/// Where the body of an answer will be, once its head is there.
fn body_of(answer: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..start]).expect("a head is text");
    let (_, length) = head.split_once("content-length: ").expect("every answer tells its length");
    let length: usize = length.split("\r\n").next().and_then(|length| length.parse().ok()).expect("a number");
    Some(start..start + length)
}

/// Sends one request on a connection of its own and answers the body.
pub(crate) async fn ask(server: SocketAddr, template: &Template) -> String {
    let mut connection = Connection::open(server).await;
    template.write(0, &mut connection.request);
    // Metrics are more than an answer usually has.
    connection.answer.resize(1024 * 1024, 0);
    let body = connection.exchange().await;
    String::from_utf8_lossy(&connection.answer[body]).into_owned()
}
