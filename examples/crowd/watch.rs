//! Watches the first poll through a socket, and finds out how soon votes were shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::score::Latencies;
use crate::{Failure, failure};

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

#[derive(Debug, Default)]
struct Seen {
    frames: Vec<(Frame, Instant)>,
    went_back: u64,
    ended: Option<String>,
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
    /// From the moment a vote was due to the first frame with as many voters as had been answered by then.
    pub(crate) latencies: Latencies,
    /// Whether the last frame shows all voters.
    pub(crate) complete: bool,
    /// Why the socket ended before it was closed here.
    pub(crate) ended: Option<String>,
}

impl Watcher {
    /// Opens the socket.
    pub(crate) async fn open(url: String) -> Result<Self, Failure> {
        let (socket, _) = tokio_tungstenite::connect_async(&url)
            .await
            .map_err(|error| failure(format!("failed to open a socket at {url}: {error}")))?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let task = tokio::spawn(watch(socket, Arc::clone(&seen)));
        Ok(Self { seen, task })
    }

    /// Waits for the frame with all `voters`, then closes the socket. `due` are the moments when votes were due, in the order
    /// of their answers; `before` are the voters that the poll had at the start.
    pub(crate) async fn finish(self, due: &[Instant], before: u64, voters: u64) -> Watched {
        let give_up = Instant::now() + FINAL_FRAME_WAIT;
        let complete = loop {
            let shown = self.seen().frames.last().is_some_and(|(frame, _)| frame.voters == voters);
            if shown || Instant::now() > give_up {
                break shown;
            }
            tokio::time::sleep(FINAL_FRAME_LOOK).await;
        };
        self.task.abort();
        let seen = self.seen();
        let mut latencies = Latencies::default();
        let mut frames = seen.frames.iter().peekable();
        for (due, wanted) in due.iter().zip(before + 1..) {
            while frames.peek().is_some_and(|(frame, _)| frame.voters < wanted) {
                frames.next();
            }
            let Some((_, at)) = frames.peek() else { break };
            latencies.record(at.saturating_duration_since(*due));
        }
        Watched { frames: seen.frames.len(), went_back: seen.went_back, latencies, complete, ended: seen.ended.clone() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(
    mut socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    seen: Arc<Mutex<Seen>>,
) {
    let ended = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let Ok(frame) = serde_json::from_str::<Frame>(&text) else { continue };
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let newest = seen.frames.last().map(|(last, _)| (last.epoch, last.version));
                if newest.is_some_and(|newest| (frame.epoch, frame.version) <= newest) {
                    seen.went_back += 1;
                }
                seen.frames.push((frame, Instant::now()));
            }
            Some(Ok(Message::Close(frame))) => break frame.map_or_else(|| "closed".to_owned(), |frame| frame.to_string()),
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => break "closed".to_owned(),
        }
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(ended);
}
