//! A small world for tests of counting: a log that keeps its records, a store that survives crashes, and loops that do not.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll as Ready;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::poll as poll_once;
use polling_core::bus::memory::MemoryBus;
use polling_core::checkpoint::{Batch, Checkpoint, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use polling_core::clock::Timestamp;
use polling_core::conformance::StoreUnderTest;
use polling_core::ingest::{Ingest, Step};
use polling_core::model::{History, PollId, Receipt, Resolution, Steps, Tally, Vote, VoterKey};
use polling_core::source::{Refused, SourceError, SourceEvent, VoteSource};
use polling_core::store::{Applied, CountedVote, Leader, StoreError, TallyStore};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A log that keeps every record, as Kafka does.
#[derive(Clone, Default)]
pub(crate) struct KeptLog(Arc<Mutex<Vec<Vote>>>);

impl KeptLog {
    pub(crate) fn append(&self, vote: Vote) {
        self.0.lock().expect("no panic inside").push(vote);
    }

    pub(crate) fn votes(&self) -> Vec<Vote> {
        self.0.lock().expect("no panic inside").clone()
    }

    /// A reader of its own, which cuts batches at random.
    pub(crate) fn source(&self, seed: u64) -> Arc<dyn VoteSource> {
        let state = KeptState { assigned: false, next: None, cuts: StdRng::seed_from_u64(seed) };
        Arc::new(KeptSource { log: self.clone(), state: Mutex::new(state) })
    }
}

struct KeptSource {
    log: KeptLog,
    state: Mutex<KeptState>,
}

struct KeptState {
    assigned: bool,
    next: Option<Offset>,
    cuts: StdRng,
}

#[async_trait]
impl VoteSource for KeptSource {
    async fn next(&self) -> Result<SourceEvent, SourceError> {
        let batch = {
            let mut state = self.state.lock().expect("no panic inside");
            if !state.assigned {
                state.assigned = true;
                return Ok(SourceEvent::Assigned(vec![Partition(0)]));
            }
            let votes = self.log.votes();
            let first = state.next.unwrap_or_default();
            let from = usize::try_from(first.get()).expect("a small offset").min(votes.len());
            let wanted = state.cuts.random_range(1..12);
            let entries: Vec<Entry> = votes[from..].iter().take(wanted).copied().map(Entry::Vote).collect();
            if state.next.is_some() && !entries.is_empty() {
                let part = PartitionBatch { partition: Partition(0), first, entries, last: None };
                state.next = Some(part.next());
                Some(Batch::single(part))
            } else {
                None
            }
        };
        match batch {
            Some(batch) => Ok(SourceEvent::Batch(batch)),
            None => std::future::pending().await,
        }
    }

    async fn start(&self, _partition: Partition, next: Offset, _last: Option<RecordDigest>) -> Result<(), SourceError> {
        self.state.lock().expect("no panic inside").next = Some(next);
        Ok(())
    }

    async fn acknowledge(&self, _batch: &Batch, _applied: Option<&Applied>) {}

    async fn refuse(&self, _batch: &Batch, _error: &StoreError) -> Refused {
        Refused::Kept
    }
}

/// How far a step of a loop goes before it is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Polled so many times: for stores that never wait for anything but other tasks.
    Polls(usize),
    /// For so long: for stores that wait for a disk.
    #[allow(dead_code, reason = "which stores there are depends on the features")]
    Time(Duration),
}

/// Lets a step of a loop finish unless it has nothing to do.
pub(crate) const MEMORY: Patience = Patience::Polls(60);
/// The same for a store on a disk. A step that takes longer is dropped half way, which is one more fault to survive.
#[cfg(feature = "sqlite")]
pub(crate) const DISK: Patience = Patience::Time(Duration::from_millis(30));
/// Steps after which counting that makes no progress is stuck.
const STEPS_MAX: usize = 10_000;

/// Takes a step; `None` when it was dropped before it was done.
pub(crate) async fn step(ingest: &mut Ingest, patience: Patience) -> Option<Step> {
    let mut step = pin!(ingest.step());
    match patience {
        Patience::Polls(polls) => {
            for _ in 0..polls {
                if let Ready::Ready(done) = poll_once!(&mut step) {
                    return Some(done);
                }
                tokio::task::yield_now().await;
            }
            None
        }
        Patience::Time(time) => tokio::time::timeout(time, step).await.ok(),
    }
}

/// Counts what is left, on a store without faults, until nothing is left.
pub(crate) async fn drain(log: &KeptLog, store: Arc<dyn TallyStore>, patience: Patience) {
    let mut ingest = Ingest::new(log.source(0), Arc::clone(&store), Arc::new(MemoryBus::new()));
    let end = Offset::ZERO.plus(log.votes().len());
    for _ in 0..STEPS_MAX {
        if store.checkpoint().await.expect("it is read").next(Partition(0)) >= end {
            return;
        }
        step(&mut ingest, patience).await;
    }
    panic!("counting is stuck before {end}");
}

/// What a test does to the calls of a store on their way. Each hook has the store behind it; the defaults only forward.
#[async_trait]
pub(crate) trait Hooks: Send + Sync {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        inner.apply(batch).await
    }

    async fn checkpoint(&self, inner: &Arc<dyn TallyStore>) -> Result<Checkpoint, StoreError> {
        inner.checkpoint().await
    }

    async fn tallies(&self, inner: &Arc<dyn TallyStore>, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        inner.tallies(polls).await
    }
}

/// A store with hooks.
pub(crate) struct Hooked {
    pub(crate) inner: Arc<dyn TallyStore>,
    pub(crate) hooks: Arc<dyn Hooks>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TallyStore for Hooked {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.hooks.apply(&self.inner, batch).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.hooks.checkpoint(&self.inner).await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.hooks.tallies(&self.inner, polls).await
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        self.inner.leaders(limit, now).await
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

/// Does nothing to the calls.
pub(crate) struct Honest;

impl Hooks for Honest {}

/// The store behind hooks.
pub(crate) fn hooked(store: &StoreUnderTest, hooks: Arc<dyn Hooks>) -> StoreUnderTest {
    let tallies = Arc::new(Hooked { inner: Arc::clone(&store.tallies), hooks });
    StoreUnderTest { polls: Arc::clone(&store.polls), tallies, reopen: None }
}
