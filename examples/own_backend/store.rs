//! A store that keeps its state in memory and every change of it in a journal.
//!
//! Invariant: the memory is what replaying the journal comes to. A change is written down first and takes effect in memory
//! after that, so nothing is ever shown that a crash could take back.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use polling_core::checkpoint::{Batch, Checkpoint};
use polling_core::clock::Timestamp;
use polling_core::model::{History, Poll, PollId, Receipt, Resolution, Steps, Tally, VoterKey};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{
    Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError, TallyStore, Transitions,
};
use tokio::sync::Mutex;

use crate::journal::Journal;
use crate::record::{PollRecord, Record, parts_of, poll_id, read_batch, time};

/// Polls, votes and tallies in a journal.
#[derive(Debug)]
pub(crate) struct JournalStore(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    /// Decides and adds up, so that the rules stand in one place.
    memory: MemoryStore,
    /// Held while something is changed: changes stand in the journal in the order in which they took effect.
    journal: Mutex<Journal>,
}

impl JournalStore {
    /// Opens the journal, or begins one, and replays it.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let (journal, lines) = Journal::open(path).map_err(|error| StoreError::Unavailable(error.into()))?;
        let memory = MemoryStore::default();
        for (line, number) in lines.iter().zip(1..) {
            let damaged = || StoreError::Damaged(format!("line {number} of the journal cannot be replayed"));
            let record: Record = serde_json::from_str(line).map_err(|_| damaged())?;
            replay(&memory, record).await.ok_or_else(damaged)?;
        }
        Ok(Self(Arc::new(Kept { memory, journal: Mutex::new(journal) })))
    }
}

async fn replay(memory: &MemoryStore, record: Record) -> Option<()> {
    match record {
        Record::Create(poll) => memory.create(&poll.read()?).await.ok(),
        Record::Close { poll, at } => memory.close(poll_id(poll)?, time(at)?).await.ok().map(|_| ()),
        Record::Archive { poll } => memory.archive(poll_id(poll)?).await.ok().map(|_| ()),
        Record::Transition { now } => memory.transition(time(now)?).await.ok().map(|_| ()),
        Record::Apply(parts) => memory.apply(&read_batch(parts)?).await.ok().map(|_| ()),
    }
}

/// Runs a change in a task of its own, so that a caller who goes away cannot cut it in two.
async fn whole<T: Send + 'static>(change: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Result<T, StoreError> {
    tokio::spawn(change).await.unwrap_or_else(|error| Err(StoreError::Unknown(error.into())))
}

async fn write(journal: &mut Journal, record: &Record) -> Result<(), StoreError> {
    let line = serde_json::to_string(record).map_err(|error| StoreError::Unavailable(error.into()))?;
    journal.append(&line).await
}

impl Kept {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        let mut journal = self.journal.lock().await;
        if self.memory.read(poll.id).await?.is_none() {
            write(&mut journal, &Record::Create(PollRecord::of(poll))).await?;
        }
        self.memory.create(poll).await
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        let mut journal = self.journal.lock().await;
        if self.memory.read(poll).await?.is_some_and(|snapshot| !snapshot.poll.has_closed()) {
            write(&mut journal, &Record::Close { poll: poll.as_uuid(), at: at.as_micros() }).await?;
        }
        self.memory.close(poll, at).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        let mut journal = self.journal.lock().await;
        if self.memory.read(poll).await?.is_some() {
            write(&mut journal, &Record::Archive { poll: poll.as_uuid() }).await?;
        }
        self.memory.archive(poll).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        let mut journal = self.journal.lock().await;
        // Nothing is due at the beginning of time, so this only says what comes next.
        let next = self.memory.transition(Timestamp::MIN).await?.next;
        if next.is_some_and(|next| next <= now) {
            write(&mut journal, &Record::Transition { now: now.as_micros() }).await?;
        }
        self.memory.transition(now).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let mut journal = self.journal.lock().await;
        let checkpoint = self.memory.checkpoint().await?;
        if batch.parts().is_empty() {
            journal.append("").await?;
        } else if batch.parts().iter().all(|part| checkpoint.next(part.partition) == part.first) {
            write(&mut journal, &Record::Apply(parts_of(batch))).await?;
        }
        // A batch that does not fit is fenced here, and was not written.
        self.memory.apply(batch).await
    }
}

#[async_trait]
impl PollStore for JournalStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        let (kept, poll) = (Arc::clone(&self.0), poll.clone());
        whole(async move { kept.create(&poll).await }).await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        self.0.memory.read(poll).await
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        self.0.memory.list(filter, order, after, limit, now).await
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        self.0.memory.rank(filter, limit, now).await
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        let kept = Arc::clone(&self.0);
        whole(async move { kept.close(poll, at).await }).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        let kept = Arc::clone(&self.0);
        whole(async move { kept.archive(poll).await }).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        let kept = Arc::clone(&self.0);
        whole(async move { kept.transition(now).await }).await
    }
}

#[async_trait]
impl TallyStore for JournalStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let (kept, batch) = (Arc::clone(&self.0), batch.clone());
        whole(async move { kept.apply(&batch).await }).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.0.memory.checkpoint().await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.0.memory.tallies(polls).await
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        self.0.memory.leaders(limit, now).await
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        self.0.memory.outcome(receipt).await
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        self.0.memory.standing(poll, voter).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.0.memory.history(poll, steps).await
    }
}
