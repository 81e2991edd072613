//! A store whose reads are counted, and can be held up or fail.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use polling_core::checkpoint::{Batch, Checkpoint};
use polling_core::clock::Timestamp;
use polling_core::model::{History, Poll, PollId, Receipt, Resolution, Steps, Tally, VoterKey};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError};
use polling_core::store::{TallyStore, Transitions};
use tokio::sync::watch;

/// A memory store, seen through what a test does to it.
pub(crate) struct WatchedStore {
    inner: Arc<MemoryStore>,
    /// How often the leaders were scanned for.
    pub(crate) scans: AtomicU64,
    /// How often a poll was read.
    pub(crate) reads: AtomicU64,
    /// Polls whose rows are damaged.
    pub(crate) damaged: Mutex<HashSet<PollId>>,
    /// Whether nothing can be read.
    pub(crate) is_away: AtomicBool,
    /// Whether scans have to wait.
    pub(crate) is_slow: watch::Sender<bool>,
    /// Polls that cannot be read before they are taken out.
    pub(crate) held_up: watch::Sender<HashSet<PollId>>,
}

impl WatchedStore {
    pub(crate) fn over(inner: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            scans: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            damaged: Mutex::default(),
            is_away: AtomicBool::new(false),
            is_slow: watch::Sender::new(false),
            held_up: watch::Sender::default(),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) { Err(StoreError::Unavailable("it is away".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl PollStore for WatchedStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        self.inner.create(poll).await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.held_up.subscribe().wait_for(|held_up| !held_up.contains(&poll)).await.expect("the store lives");
        self.check()?;
        if self.damaged.lock().expect("nobody panicked").contains(&poll) {
            return Err(StoreError::Damaged("the options of a poll cannot be read".into()));
        }
        self.inner.read(poll).await
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        self.inner.list(filter, order, after, limit, now).await
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        self.inner.rank(filter, limit, now).await
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        self.inner.close(poll, at).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        self.inner.archive(poll).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        self.inner.transition(now).await
    }
}

#[async_trait]
impl TallyStore for WatchedStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.inner.apply(batch).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.inner.checkpoint().await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.check()?;
        self.inner.tallies(polls).await
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let leaders = self.inner.leaders(limit, now).await;
        self.is_slow.subscribe().wait_for(|is_slow| !is_slow).await.expect("the store lives");
        self.check()?;
        leaders
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        self.inner.outcome(receipt).await
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        self.inner.standing(poll, voter).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.inner.history(poll, steps).await
    }
}
