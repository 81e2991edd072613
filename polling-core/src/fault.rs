//! Backends that fail on purpose, at random and the same for the same seed.
//!
//! Each wrapper forwards to a real backend and may fail *before* it did (nothing happened, and the caller is told so), fail *after*
//! it did (it happened, and the caller is told that it is unknown), or hesitate, which lets a test drop the future half way.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::bus::{BusError, Notice, Update, UpdateBus};
use crate::checkpoint::{Batch, Checkpoint, Offset, Partition, RecordDigest};
use crate::clock::Timestamp;
use crate::model::{History, Poll, PollId, Receipt, Resolution, Steps, Tally, Vote, VoterKey};
use crate::sink::{Recorded, SinkError, VoteSink};
use crate::source::{Refused, SourceError, SourceEvent, VoteSource};
use crate::store::{Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError};
use crate::store::{TallyStore, Transitions};

/// How often something goes wrong, each in percent of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// Fails before it does anything.
    pub before: u32,
    /// Does it, and then fails.
    pub after: u32,
    /// Yields to other tasks before and after.
    pub hesitate: u32,
}

/// Decides what goes wrong next. Cloning gives another handle to the same dice.
#[derive(Debug, Clone)]
pub struct Faults {
    rates: FaultRates,
    dice: Arc<Mutex<StdRng>>,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Before,
    After,
}

impl Faults {
    /// Faults at these rates, the same for the same seed and the same order of calls.
    #[must_use]
    pub fn new(rates: FaultRates, seed: u64) -> Self {
        Self { rates, dice: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// No faults at all.
    #[must_use]
    pub fn none() -> Self {
        Self::new(FaultRates::default(), 0)
    }

    async fn next(&self) -> Fault {
        let (fault, hesitations) = {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            let throw = dice.random_range(0..100);
            let fault = if throw < self.rates.before {
                Fault::Before
            } else if throw < self.rates.before + self.rates.after {
                Fault::After
            } else {
                Fault::None
            };
            let hesitates = dice.random_range(0..100) < self.rates.hesitate;
            (fault, if hesitates { dice.random_range(1..4) } else { 0 })
        };
        for _ in 0..hesitations {
            tokio::task::yield_now().await;
        }
        fault
    }

    /// Carries out a call of a store that changes something.
    async fn change<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match self.next().await {
            Fault::Before => Err(StoreError::Unavailable("injected before".into())),
            Fault::After => {
                call.await?;
                Err(StoreError::Unknown("injected after".into()))
            }
            Fault::None => {
                let answer = call.await;
                if self.rates.hesitate > 0 {
                    tokio::task::yield_now().await;
                }
                answer
            }
        }
    }

    /// Carries out a call of a store that only reads.
    async fn read<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match self.next().await {
            Fault::Before | Fault::After => Err(StoreError::Unavailable("injected".into())),
            Fault::None => call.await,
        }
    }
}

/// A store that fails on purpose.
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

impl<S> FaultyStore<S> {
    /// Wraps a store.
    pub const fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PollStore for FaultyStore<Arc<dyn PollStore>> {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        self.faults.change(self.inner.create(poll)).await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        self.faults.read(self.inner.read(poll)).await
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        self.faults.read(self.inner.list(filter, order, after, limit, now)).await
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        self.faults.read(self.inner.rank(filter, limit, now)).await
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        self.faults.change(self.inner.close(poll, at)).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        self.faults.change(self.inner.archive(poll)).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        self.faults.change(self.inner.transition(now)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TallyStore for FaultyStore<Arc<dyn TallyStore>> {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.faults.change(self.inner.apply(batch)).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.faults.read(self.inner.checkpoint()).await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.faults.read(self.inner.tallies(polls)).await
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        self.faults.read(self.inner.leaders(limit, now)).await
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        self.faults.read(self.inner.outcome(receipt)).await
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        self.faults.read(self.inner.standing(poll, voter)).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.faults.read(self.inner.history(poll, steps)).await
    }
}

/// A writing end of a log that fails on purpose.
pub struct FaultySink {
    inner: Arc<dyn VoteSink>,
    faults: Faults,
}

impl FaultySink {
    /// Wraps a sink.
    #[must_use]
    pub const fn new(inner: Arc<dyn VoteSink>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VoteSink for FaultySink {
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError> {
        match self.faults.next().await {
            Fault::Before => Err(SinkError::NotRecorded { reason: "injected before".to_owned() }),
            Fault::After => {
                self.inner.record(vote).await?;
                Err(SinkError::Unknown { reason: "injected after".to_owned() })
            }
            Fault::None => self.inner.record(vote).await,
        }
    }
}

/// A reading end of a log that fails on purpose. What was yielded is never lost on its way, because no log yields it a second time;
/// an acknowledgement may be.
pub struct FaultySource {
    inner: Arc<dyn VoteSource>,
    faults: Faults,
}

impl FaultySource {
    /// Wraps a source.
    #[must_use]
    pub const fn new(inner: Arc<dyn VoteSource>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VoteSource for FaultySource {
    async fn next(&self) -> Result<SourceEvent, SourceError> {
        match self.faults.next().await {
            Fault::Before | Fault::After => Err(SourceError("injected".into())),
            Fault::None => self.inner.next().await,
        }
    }

    async fn start(&self, partition: Partition, next: Offset, last: Option<RecordDigest>) -> Result<(), SourceError> {
        match self.faults.next().await {
            Fault::Before => Err(SourceError("injected before".into())),
            Fault::After => {
                self.inner.start(partition, next, last).await?;
                Err(SourceError("injected after".into()))
            }
            Fault::None => self.inner.start(partition, next, last).await,
        }
    }

    async fn acknowledge(&self, batch: &Batch, applied: Option<&Applied>) {
        if self.faults.next().await != Fault::Before {
            self.inner.acknowledge(batch, applied).await;
        }
    }

    async fn refuse(&self, batch: &Batch, error: &StoreError) -> Refused {
        // Nothing is wrong with applying it again later.
        if self.faults.next().await == Fault::Before { Refused::Kept } else { self.inner.refuse(batch, error).await }
    }
}

/// A bus that loses, on purpose, what it should carry.
pub struct FaultyBus {
    inner: Arc<dyn UpdateBus>,
    faults: Faults,
}

impl FaultyBus {
    /// Wraps a bus.
    #[must_use]
    pub const fn new(inner: Arc<dyn UpdateBus>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl UpdateBus for FaultyBus {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        match self.faults.next().await {
            Fault::Before => Err(BusError("injected before".into())),
            Fault::After => {
                self.inner.publish(updates).await?;
                Err(BusError("injected after".into()))
            }
            Fault::None => self.inner.publish(updates).await,
        }
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        self.inner.subscribe().await
    }
}
