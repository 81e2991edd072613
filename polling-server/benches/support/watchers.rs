//! Many readers of frames on one thread, each as cheap as a reader can be.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::child::Server;
use super::load::{Template, ask};

/// The first byte of a frame with text that is whole.
const TEXT: u8 = 0x81;
/// The first byte of a ping.
const PING: u8 = 0x89;
/// A pong to a ping without content, under a mask of zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// Bytes that are read at a time, for whichever socket has some.
const READ_BYTES: usize = 64 * 1024;

/// Makes a poll with so many options, and answers its identifier.
pub(crate) async fn make_poll(server: &Server, options: usize) -> String {
    let options: Vec<String> = (1..=options).map(|option| format!("The option {option}")).collect();
    let body = serde_json::json!({ "question": "Which one of these would you like?", "options": options }).to_string();
    let answer = ask(server.api, &Template::new("/polls", &body)).await;
    let created: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    created["id"].as_str().expect("it has an identifier").to_owned()
}

/// What a client says first to watch the poll.
pub(crate) fn hello(poll: &str) -> String {
    hello_at(&format!("/polls/{poll}/live"))
}

/// What a client says first to watch all of these polls on one socket.
pub(crate) fn hello_to_many(polls: &[String]) -> Vec<u8> {
    let wish = serde_json::json!({ "subscribe": polls }).to_string();
    let length = u16::try_from(wish.len()).expect("a short message").to_be_bytes();
    // Under a mask of zeros.
    let head = [TEXT, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
    [hello_at("/live").as_bytes(), &head, wish.as_bytes()].concat()
}

fn hello_at(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// What the readers have seen together.
#[derive(Default)]
pub(crate) struct Seen {
    frames: Cell<u64>,
    bytes: Cell<u64>,
    until: Cell<u64>,
    reached: Notify,
    /// From when the frames are timed that come now.
    since: Cell<Option<Instant>>,
    times: RefCell<Option<Histogram<u64>>>,
}

impl Seen {
    /// Waits until so many frames were seen in all.
    pub(crate) async fn wait_for(&self, frames: u64) {
        self.until.set(frames);
        while self.frames.get() < frames {
            self.reached.notified().await;
        }
    }

    /// Frames that were seen so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Bytes of text in a frame, on the average.
    pub(crate) fn mean_bytes(&self) -> u64 {
        self.bytes.get() / self.frames.get().max(1)
    }

    /// Times the frames that come from now on, from this moment on; `None`: does not.
    pub(crate) fn time(&self, since: Option<Instant>) {
        self.since.set(since);
    }

    /// The microseconds to each frame that was timed since the last call of this.
    pub(crate) fn take_times(&self) -> Histogram<u64> {
        self.times.take().expect("frames were timed")
    }

    fn note(&self, bytes: u64) {
        if let Some(since) = self.since.get() {
            let mut times = self.times.borrow_mut();
            let times = times.get_or_insert_with(|| Histogram::new_with_bounds(1, 60_000_000, 3).expect("sound bounds"));
            times.saturating_record(since.elapsed().as_micros() as u64);
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.frames.set(self.frames.get() + 1);
        if self.frames.get() == self.until.get() {
            self.reached.notify_one();
        }
    }
}

/// Sockets that are read from. Dropping them cuts the connections.
pub(crate) struct Watchers {
    /// What they have seen.
    pub(crate) seen: Rc<Seen>,
    readers: JoinSet<()>,
}

impl Watchers {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { seen: Rc::default(), readers: JoinSet::new() }
    }

    /// Adds so many, each of which sends `hello` first. Must run in a local set.
    pub(crate) async fn add(&mut self, server: SocketAddr, count: usize, hello: &[u8]) {
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        for _ in 0..count {
            let mut stream = connect(server).await;
            stream.write_all(hello).await.expect("the server takes it");
            let reader = Reader {
                stream,
                seen: Rc::clone(&self.seen),
                state: if hello.is_empty() { State::start() } else { State::Head(0) },
            };
            self.readers.spawn_local(reader.run(Rc::clone(&buffer)));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }
}

/// Connects, again when the server's queue was full. The connection is cut at its end, and so leaves no port behind that has to wait.
pub(crate) async fn connect(server: SocketAddr) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect(server).await {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("connected");
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where in the stream a reader is.
enum State {
    /// In the answer to the handshake; so many bytes of the empty line that ends it were seen.
    Head(usize),
    /// In the head of a frame, of which these bytes were seen.
    FrameHead(Vec<u8>),
    /// In a frame, of which so many bytes are to come.
    Frame { is_text: bool, bytes: u64, left: u64 },
}

impl State {
    const fn start() -> Self {
        Self::FrameHead(Vec::new())
    }
}

struct Reader {
    stream: TcpStream,
    seen: Rc<Seen>,
    state: State,
}

impl Reader {
    async fn run(mut self, buffer: Rc<RefCell<Vec<u8>>>) {
        loop {
            self.stream.readable().await.expect("the socket stays");
            let mut buffer = buffer.borrow_mut();
            match self.stream.try_read(&mut buffer) {
                Ok(0) => panic!("the server hung up"),
                Ok(read) => self.take(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head(matched) => {
                    *matched = match (bytes[0], *matched) {
                        (b'\r', 0 | 2) | (b'\n', 1 | 3) => *matched + 1,
                        (b'\r', _) => 1,
                        _ => 0,
                    };
                    bytes = &bytes[1..];
                    if *matched == 4 {
                        self.state = State::start();
                    }
                }
                State::FrameHead(head) => {
                    head.push(bytes[0]);
                    bytes = &bytes[1..];
                    let length = match head.as_slice() {
                        [_, length] if *length < 126 => Some(u64::from(*length)),
                        [_, 126, high, low] => Some(u64::from(u16::from_be_bytes([*high, *low]))),
                        _ => None,
                    };
                    if let Some(length) = length {
                        let is_text = head[0] == TEXT;
                        if head[0] == PING {
                            // Whoever is never heard is taken to be gone after a minute.
                            self.stream.try_write(&PONG).expect("the server takes it");
                        }
                        self.state = State::Frame { is_text, bytes: length, left: length };
                        self.end_of_frame();
                    }
                }
                State::Frame { left, .. } => {
                    let taken = (bytes.len() as u64).min(*left);
                    *left -= taken;
                    bytes = &bytes[taken as usize..];
                    self.end_of_frame();
                }
            }
        }
    }

    fn end_of_frame(&mut self) {
        if let State::Frame { is_text, bytes, left: 0 } = self.state {
            if is_text {
                self.seen.note(bytes);
            }
            self.state = State::start();
        }
    }
}
