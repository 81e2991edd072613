//! The writing end of a vote log within one process, for a server that counts by itself.
//!
//! Nothing is durable in the log itself. A call resolves when the store has applied its vote, so each vote is written once and
//! still survives the death of the process; then the outcome is known at once, too.

use async_trait::async_trait;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Recorded, SinkError, VoteSink};
use crate::model::Vote;
use crate::source::memory::MemorySource;

/// What the log answers to one call.
pub(crate) type Answer = Result<Recorded, SinkError>;

/// A vote and the call that waits for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) vote: Vote,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The default for the votes that may wait in the log: about half a second of a busy store's work.
pub const WAITING_VOTES_DEFAULT: usize = 65_536;

/// Makes a log that holds at most `capacity` waiting votes (at least 1) and refuses more.
#[must_use]
pub fn memory_log(capacity: usize) -> (MemorySink, MemorySource) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let closing = CancellationToken::new();
    (MemorySink { sender, closing: closing.clone() }, MemorySource::new(receiver, closing))
}

/// Takes votes into the memory log. Cloning gives another handle to the same log.
#[derive(Debug, Clone)]
pub struct MemorySink {
    sender: mpsc::Sender<Waiting>,
    closing: CancellationToken,
}

impl MemorySink {
    /// Refuses every vote from now on. The source yields what is in the log, and then that it is closed.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// How many votes wait in the log.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }
}

#[async_trait]
impl VoteSink for MemorySink {
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError> {
        if self.closing.is_cancelled() {
            return Err(not_recorded("the log is closed"));
        }
        let (answer, answered) = oneshot::channel();
        match self.sender.try_send(Waiting { vote, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(not_recorded("the queue is full")),
            Err(TrySendError::Closed(_)) => return Err(not_recorded("the log is closed")),
        }
        answered.await.unwrap_or_else(|_| Err(SinkError::Unknown { reason: "the counting of votes has stopped".to_owned() }))
    }
}

fn not_recorded(reason: &str) -> SinkError {
    SinkError::NotRecorded { reason: reason.to_owned() }
}
