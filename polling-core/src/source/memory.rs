//! The reading end of a vote log within one process.

use std::sync::{Mutex as BlockingMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Refused, SourceError, SourceEvent, VoteSource};
use crate::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch, Position, RecordDigest};
use crate::model::codec;
use crate::sink::memory::{Answer, Waiting};
use crate::sink::{Recorded, SinkError};
use crate::store::{Applied, StoreError};

/// The one partition of a memory log.
const ONLY: Partition = Partition(0);
/// Votes that one batch may have: what a store applies in about a tenth of a second, so that no caller waits long for its group.
const BATCH_VOTES_MAX: usize = 10_000;
/// How long whoever was told to start may take before the partition is assigned again: far longer than a start takes, and short for
/// voters who wait.
const ASSIGNED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Yields the votes of a memory log, all that wait in one batch, so that one transaction is shared by as many as came together.
///
/// An offset is given to a vote when its batch is made, and is used again when the store refused the batch: so the
/// offsets in the store have no hole. Votes wait in the log until somebody says at which offset it begins; until then its one
/// partition is assigned again after a while, because the one who was told may have died of it.
#[derive(Debug)]
pub struct MemorySource {
    receiver: Mutex<Reader>,
    flight: BlockingMutex<Flight>,
    started: Notify,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Receiver<Waiting>,
    /// Votes taken from the queue, until the batch is made; here so that a dropped `next` does not lose them.
    taken: Vec<Waiting>,
}

#[derive(Debug, Default)]
struct Flight {
    /// The offset of the next batch; `None` before the start.
    next: Option<Offset>,
    /// Whether somebody was told to start.
    is_assigned: bool,
    /// The batch that was yielded last, with the calls that wait for it.
    waiting: Vec<Waiting>,
    /// Whoever had the batch first did not say what became of it, so it may have been applied.
    in_doubt: bool,
}

impl MemorySource {
    pub(crate) fn new(queue: mpsc::Receiver<Waiting>, closing: CancellationToken) -> Self {
        let receiver = Mutex::new(Reader { queue, taken: Vec::new() });
        Self { receiver, flight: BlockingMutex::default(), started: Notify::new(), closing }
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is known which offset comes next.
    async fn start_told(&self) {
        loop {
            let started = self.started.notified();
            if self.flight().next.is_some() {
                return;
            }
            started.await;
        }
    }
}

impl Flight {
    fn answer_all(&mut self, answer: &Answer) {
        for waiting in self.waiting.drain(..) {
            // A caller that went away needs no answer.
            let _gone = waiting.answer.send(answer.clone());
        }
    }

    fn batch(&self) -> Option<Batch> {
        let entries: Vec<Entry> = self.waiting.iter().map(|waiting| Entry::Vote(waiting.vote)).collect();
        let first = self.next?;
        // Offsets are given by each log of its own: this tells whether it was this batch that moved a checkpoint, or another log's.
        let last = self.waiting.last().map(|waiting| RecordDigest::of(&codec::encode(&waiting.vote)));
        (!entries.is_empty()).then(|| Batch::single(PartitionBatch { partition: ONLY, first, entries, last }))
    }
}

#[async_trait]
impl VoteSource for MemorySource {
    async fn next(&self) -> Result<SourceEvent, SourceError> {
        let mut reader = self.receiver.lock().await;
        {
            let mut flight = self.flight();
            if flight.next.is_none() && !std::mem::replace(&mut flight.is_assigned, true) {
                return Ok(SourceEvent::Assigned(vec![ONLY]));
            }
            // Not acknowledged yet: yield it again rather than forget who waits for it.
            if let Some(batch) = flight.batch() {
                flight.in_doubt = true;
                return Ok(SourceEvent::Batch(batch));
            }
        }
        if timeout(ASSIGNED_AGAIN_AFTER, self.start_told()).await.is_err() {
            return Ok(SourceEvent::Assigned(vec![ONLY]));
        }
        let Reader { queue, taken } = &mut *reader;
        if taken.is_empty() {
            if self.closing.is_cancelled() {
                queue.close();
            }
            tokio::select! {
                biased;
                _ = queue.recv_many(taken, BATCH_VOTES_MAX) => {}
                () = self.closing.cancelled() => {
                    queue.close();
                    queue.recv_many(taken, BATCH_VOTES_MAX).await;
                }
            }
        }
        let mut flight = self.flight();
        flight.waiting.append(taken);
        flight.in_doubt = false;
        Ok(flight.batch().map_or(SourceEvent::Closed, SourceEvent::Batch))
    }

    async fn start(&self, partition: Partition, next: Offset, _last: Option<RecordDigest>) -> Result<(), SourceError> {
        if partition == ONLY {
            let mut flight = self.flight();
            flight.next = Some(next);
            // Whoever starts anew does not know what became of the last batch.
            flight.answer_all(&Err(SinkError::Unknown { reason: "the counting of votes was started anew".to_owned() }));
            drop(flight);
            self.started.notify_waiters();
        }
        Ok(())
    }

    async fn acknowledge(&self, batch: &Batch, applied: Option<&Applied>) {
        let mut flight = self.flight();
        let Some(part) = batch.parts().iter().find(|part| part.partition == ONLY && flight.next == Some(part.first)) else {
            return;
        };
        let (outcomes, conflicts) = applied.map_or((&[][..], &[][..]), |applied| (&applied.outcomes[..], &applied.conflicts[..]));
        let mut conflicts = conflicts.iter().copied().peekable();
        for (index, waiting) in flight.waiting.drain(..).enumerate() {
            let position = Some(Position { partition: ONLY, offset: part.first.plus(index) });
            let is_conflict = conflicts.next_if_eq(&index).is_some();
            let _gone = waiting.answer.send(Ok(Recorded { position, outcome: outcomes.get(index).copied(), is_conflict }));
        }
        flight.next = Some(part.next());
    }

    async fn refuse(&self, _batch: &Batch, error: &StoreError) -> Refused {
        let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        let mut flight = self.flight();
        let answer = if flight.in_doubt { SinkError::Unknown { reason } } else { SinkError::NotRecorded { reason } };
        flight.answer_all(&Err(answer));
        Refused::Returned
    }
}
