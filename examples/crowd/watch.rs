//! Watches the first poll through a socket, and finds out how soon votes were shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use polling_core::retry::Pauses;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use voting::{Failure, failure};

use crate::score::Latencies;

/// How long after the last vote the final frame may take: the server reads watched polls anew every 2 s at least.
const FINAL_FRAME_WAIT: Duration = Duration::from_secs(5);
/// How often to look whether the final frame has come.
const FINAL_FRAME_LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, Deserialize)]
struct Frame {
    epoch: u64,
    version: u64,
    voters: u64,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[derive(Debug, Default)]
struct Seen {
    frames: Vec<(Frame, Instant)>,
    went_back: u64,
    reconnected: u64,
}

/// A watcher of one poll.
pub(crate) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What the watcher saw.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) frames: usize,
    /// Frames that were not newer than the one before.
    pub(crate) went_back: u64,
    /// How often the socket ended and was opened again.
    pub(crate) reconnected: u64,
    /// From the moment a vote was due to the first frame with as many voters as had been answered by then.
    pub(crate) latencies: Latencies,
    /// Whether the last frame shows all voters.
    pub(crate) complete: bool,
}

impl Watcher {
    /// Opens the socket.
    pub(crate) async fn open(url: String) -> Result<Self, Failure> {
        let socket = connect(&url).await.map_err(|error| failure(format!("failed to open a socket at {url}: {error}")))?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let task = tokio::spawn(watch(socket, url, Arc::clone(&seen)));
        Ok(Self { seen, task })
    }

    /// Waits for the frame with all `voters`, then closes the socket. `due` are the moments when votes were due, in the order
    /// of their answers; `before` are the voters that the poll had at the start.
    pub(crate) async fn finish(self, due: &[Instant], before: u64, voters: u64) -> Watched {
        let give_up = Instant::now() + FINAL_FRAME_WAIT;
        let complete = loop {
            let shown = locked(&self.seen).frames.last().is_some_and(|(frame, _)| frame.voters == voters);
            if shown || Instant::now() > give_up {
                break shown;
            }
            tokio::time::sleep(FINAL_FRAME_LOOK).await;
        };
        self.task.abort();
        let seen = locked(&self.seen);
        let mut latencies = Latencies::default();
        let mut frames = seen.frames.iter().peekable();
        for (due, wanted) in due.iter().zip(before + 1..) {
            while frames.peek().is_some_and(|(frame, _)| frame.voters < wanted) {
                frames.next();
            }
            let Some((_, at)) = frames.peek() else { break };
            latencies.record(at.saturating_duration_since(*due));
        }
        let Seen { went_back, reconnected, .. } = *seen;
        Watched { frames: seen.frames.len(), went_back, reconnected, latencies, complete }
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(url: &str) -> Result<Socket, tungstenite::Error> {
    // Boxed, because the future of a handshake is large.
    Box::pin(tokio_tungstenite::connect_async(url)).await.map(|(socket, _)| socket)
}

/// Reads frames for ever; opens the socket again when it ends, and asks for what is newer than the last frame.
async fn watch(socket: Socket, url: String, seen: Arc<Mutex<Seen>>) {
    let mut socket = Some(socket);
    let mut pauses = Pauses::default();
    loop {
        if let Some(socket) = socket.take() {
            read(socket, &seen).await;
            locked(&seen).reconnected += 1;
            pauses.reset();
        }
        tokio::time::sleep(pauses.next_pause()).await;
        let newest = locked(&seen).frames.last().map(|(frame, _)| format!("{url}?after={}.{}", frame.epoch, frame.version));
        socket = connect(newest.as_deref().unwrap_or(&url)).await.ok();
    }
}

async fn read(mut socket: Socket, seen: &Mutex<Seen>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(frame) = serde_json::from_str::<Frame>(&text) else { continue };
        let mut seen = locked(seen);
        let newest = seen.frames.last().map(|(last, _)| (last.epoch, last.version));
        if newest.is_some_and(|newest| (frame.epoch, frame.version) <= newest) {
            seen.went_back += 1;
        }
        seen.frames.push((frame, Instant::now()));
    }
}
