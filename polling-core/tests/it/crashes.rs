//! Whatever fails, whenever: in the end the tallies are those of the whole history.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use polling_core::bus::memory::MemoryBus;
use polling_core::checkpoint::{Batch, Entry, Offset};
use polling_core::clock::Timestamp;
use polling_core::conformance::fixture::{NOW, cast, poll};
use polling_core::conformance::{StoreUnderTest, assert_equals_the_oracle, random_vote};
use polling_core::fault::{FaultRates, Faults, FaultyBus, FaultySink, FaultySource, FaultyStore};
use polling_core::ingest::{Ingest, Step};
use polling_core::model::{Poll, Vote};
use polling_core::sink::memory::memory_log;
use polling_core::sink::{Recorded, SinkError, VoteSink};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, PollStore, StoreError, TallyStore};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;

use crate::world::{Honest, Hooks, KeptLog, MEMORY, Patience, drain, hooked, step};

/// Longer than anything takes that ends at all.
const SOON: Duration = Duration::from_secs(10);

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// So many votes are sent.
    Votes(u8),
    /// A loop takes a step; the second one is the zombie that everybody forgot.
    Step { zombie: bool },
    /// A loop is dropped in the middle of a step.
    Dropped { zombie: bool, polls: u8 },
    /// The process of a loop dies.
    Crash { zombie: bool },
    /// An owner closes a poll.
    Close(u8),
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1..30_u8).prop_map(Event::Votes),
        6 => any::<bool>().prop_map(|zombie| Event::Step { zombie }),
        2 => (any::<bool>(), 1..5_u8).prop_map(|(zombie, polls)| Event::Dropped { zombie, polls }),
        1 => any::<bool>().prop_map(|zombie| Event::Crash { zombie }),
        1 => (0..4_u8).prop_map(Event::Close),
    ];
    proptest::collection::vec(event, 1..80)
}

pub(crate) fn rates() -> impl Strategy<Value = FaultRates> {
    (0..30_u32, 0..30_u32, 0..60_u32).prop_map(|(before, after, hesitate)| FaultRates { before, after, hesitate })
}

/// Time and chance: every vote has an acceptance time of its own.
pub(crate) struct Crowd {
    pub(crate) polls: Vec<Poll>,
    random: StdRng,
    now: Timestamp,
}

impl Crowd {
    pub(crate) async fn new(seed: u64, store: &StoreUnderTest) -> Self {
        let polls = vec![
            poll(2, |_| {}),
            poll(4, |draft| draft.max_choices = Some(2)),
            poll(3, |draft| draft.allow_change = true),
            poll(5, |draft| {
                draft.allow_change = true;
                draft.max_choices = Some(5);
                draft.closes_at = Some(NOW.saturating_add(Duration::from_millis(300)));
            }),
        ];
        for poll in &polls {
            store.polls.create(poll).await.expect("the poll is created");
        }
        Self { polls, random: StdRng::seed_from_u64(seed), now: NOW }
    }

    pub(crate) fn vote(&mut self) -> Vote {
        self.now = self.now.saturating_add(Duration::from_millis(1));
        random_vote(&mut self.random, &self.polls, self.now)
    }

    /// As an owner does who tries again until it is certain.
    async fn close(&self, number: u8, polls: &dyn PollStore) {
        let poll = &self.polls[usize::from(number) % self.polls.len()];
        while polls.close(poll.id, self.now).await.is_err() {}
    }
}

/// A log that keeps its records, two loops that both believe it is theirs, and a store that fails on them.
///
/// `sabotage` stands between the loops and the store, and between the store and whoever reads it in the end.
pub(crate) async fn run_on_a_kept_log(
    store: StoreUnderTest,
    patience: Patience,
    events: Vec<Event>,
    rates: FaultRates,
    seed: u64,
    sabotage: Arc<dyn Hooks>,
) {
    let store = hooked(&store, sabotage);
    let mut crowd = Crowd::new(seed, &store).await;
    let log = KeptLog::default();
    let faults = Faults::new(rates, seed);
    let polls = FaultyStore::new(Arc::clone(&store.polls), faults.clone());
    let start = |number: u64| {
        let source = FaultySource::new(log.source(seed + number), faults.clone());
        let faulty = FaultyStore::new(Arc::clone(&store.tallies), faults.clone());
        let bus = FaultyBus::new(Arc::new(MemoryBus::new()), faults.clone());
        Ingest::new(Arc::new(source), Arc::new(faulty), Arc::new(bus))
    };
    let mut loops = [start(0), start(1)];
    for (number, event) in (2..).zip(events) {
        match event {
            Event::Votes(count) => (0..count).for_each(|_| log.append(crowd.vote())),
            Event::Step { zombie } => {
                step(&mut loops[usize::from(zombie)], patience).await;
            }
            Event::Dropped { zombie, polls } => {
                step(&mut loops[usize::from(zombie)], Patience::Polls(usize::from(polls))).await;
            }
            Event::Crash { zombie } => loops[usize::from(zombie)] = start(number),
            Event::Close(poll) => crowd.close(poll, &polls).await,
        }
    }
    drain(&log, Arc::clone(&store.tallies), patience).await;
    assert_equals_the_oracle(&store, &log.votes()).await;
}

/// Remembers every vote that was really applied, and where. A store on a disk goes on when its caller is dropped, and so does this.
#[derive(Default)]
pub(crate) struct Witness {
    applied: Arc<Mutex<BTreeMap<Offset, Vote>>>,
    under_way: TaskTracker,
}

#[async_trait]
impl Hooks for Witness {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        let (inner, batch, seen) = (Arc::clone(inner), batch.clone(), Arc::clone(&self.applied));
        let applying = self.under_way.spawn(async move {
            let applied = inner.apply(&batch).await?;
            let vote = |entry: &Entry| if let Entry::Vote(vote) = entry { Some(*vote) } else { None };
            let votes = batch.positioned().filter_map(|(position, entry)| Some((position.offset, vote(entry)?)));
            seen.lock().expect("no panic inside").extend(votes);
            Ok(applied)
        });
        applying.await.expect("no panic inside")
    }
}

type Answers = Arc<Mutex<Vec<(Vote, Result<Recorded, SinkError>)>>>;

/// A memory log, whose callers wait: whoever was told that the vote is recorded finds it applied, at the position told.
pub(crate) async fn run_on_a_memory_log(
    store: StoreUnderTest,
    patience: Patience,
    events: Vec<Event>,
    rates: FaultRates,
    seed: u64,
    sabotage: impl Fn() -> Arc<dyn Hooks>,
) {
    let witness = Arc::new(Witness::default());
    let store = hooked(&store, Arc::clone(&witness) as Arc<dyn Hooks>);
    let mut crowd = Crowd::new(seed, &store).await;
    let faults = Faults::new(rates, seed);
    let polls = FaultyStore::new(Arc::clone(&store.polls), faults.clone());
    // Without hesitation: votes of one voter would overtake each other, and the rule takes for granted that acceptance times do not go back.
    let faults_of_sink = Faults::new(FaultRates { hesitate: 0, ..rates }, seed);
    let start = || {
        let (sink, source) = memory_log(50);
        let sink: Arc<dyn VoteSink> = Arc::new(FaultySink::new(Arc::new(sink), faults_of_sink.clone()));
        let source = FaultySource::new(Arc::new(source), faults.clone());
        // The saboteur lives in the process: what it holds back dies with it.
        let sabotaged = hooked(&store, sabotage());
        let faulty = FaultyStore::new(sabotaged.tallies, faults.clone());
        (sink, Ingest::new(Arc::new(source), Arc::new(faulty), Arc::new(MemoryBus::new())))
    };
    let (answers, callers) = (Answers::default(), TaskTracker::new());
    let (mut sink, mut ingest) = start();
    for event in events {
        match event {
            Event::Votes(count) => {
                for _ in 0..count {
                    let (sink, vote, answers) = (Arc::clone(&sink), crowd.vote(), Arc::clone(&answers));
                    callers.spawn(async move {
                        let answer = sink.record(vote).await;
                        answers.lock().expect("no panic inside").push((vote, answer));
                    });
                }
                tokio::task::yield_now().await;
            }
            Event::Step { .. } => {
                step(&mut ingest, patience).await;
            }
            Event::Dropped { polls, .. } => {
                step(&mut ingest, Patience::Polls(usize::from(polls))).await;
            }
            Event::Crash { .. } => {
                drop((sink, ingest));
                // What was under way dies with the process, or was done just before: nothing of it comes later.
                ended(&witness.under_way).await;
                (sink, ingest) = start();
            }
            Event::Close(poll) => crowd.close(poll, &polls).await,
        }
    }
    drop((sink, ingest));
    ended(&callers).await;
    ended(&witness.under_way).await;
    let applied: Vec<Vote> = witness.applied.lock().expect("no panic inside").values().copied().collect();
    assert_equals_the_oracle(&store, &applied).await;
    let times: HashSet<Timestamp> = applied.iter().map(|vote| vote.accepted_at).collect();
    for (vote, answer) in answers.lock().expect("no panic inside").iter() {
        match answer {
            Ok(recorded) => {
                let offset = recorded.position.expect("a memory log knows the position").offset;
                let place = usize::try_from(offset.get()).expect("a small offset");
                assert_eq!(applied.get(place), Some(vote), "an acknowledged vote is where its receipt says");
            }
            Err(SinkError::NotRecorded { .. }) => {
                assert!(!times.contains(&vote.accepted_at), "a vote said not to be recorded was applied: {vote:?}");
            }
            Err(SinkError::Unknown { .. }) => {}
        }
    }
}

async fn ended(tasks: &TaskTracker) {
    tasks.close();
    tokio::time::timeout(SOON, tasks.wait()).await.expect("nobody waits for ever");
    tasks.reopen();
}

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test);
}

pub(crate) fn memory_store() -> StoreUnderTest {
    StoreUnderTest::forgetful(Arc::new(MemoryStore::default()))
}

#[tokio::test]
async fn a_second_memory_log_over_the_same_store_acknowledges_nothing_that_was_not_applied() {
    let store = memory_store();
    let poll = poll(2, |_| {});
    store.polls.create(&poll).await.expect("created");
    let start = || {
        let (sink, source) = memory_log(50);
        (sink, Ingest::new(Arc::new(source), Arc::clone(&store.tallies), Arc::new(MemoryBus::new())))
    };
    let ((first, mut first_loop), (second, mut second_loop)) = (start(), start());
    // Both believe that they stand at the beginning.
    step(&mut first_loop, MEMORY).await;
    step(&mut second_loop, MEMORY).await;
    let send = |sink: &polling_core::sink::memory::MemorySink, voter| {
        let (sink, vote) = (sink.clone(), cast(&poll, voter, voter, &[1]));
        tokio::spawn(async move { sink.record(vote).await })
    };
    let (applied, applied_too) = (send(&first, 1), send(&first, 2));
    tokio::task::yield_now().await;
    step(&mut first_loop, MEMORY).await;
    assert!(applied.await.expect("no panic").is_ok() && applied_too.await.expect("no panic").is_ok());
    let fenced = send(&second, 3);
    tokio::task::yield_now().await;
    assert_eq!(step(&mut second_loop, MEMORY).await, Some(Step::Fenced));
    step(&mut second_loop, MEMORY).await;
    let answer = fenced.await.expect("no panic");
    assert!(matches!(answer, Err(SinkError::Unknown { .. })), "{answer:?}");
}

/// Loses the first batch and does not say so.
#[derive(Default)]
struct LosesTheFirst(AtomicBool);

#[async_trait]
impl Hooks for LosesTheFirst {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        if !batch.is_empty() && !self.0.swap(true, Ordering::Relaxed) {
            return Err(StoreError::Unknown("the connection was lost".into()));
        }
        inner.apply(batch).await
    }
}

#[tokio::test]
async fn a_lost_batch_is_not_taken_for_that_of_another_log_which_moved_the_checkpoint() {
    for others in [1, 2] {
        let store = memory_store();
        let poll = poll(2, |_| {});
        store.polls.create(&poll).await.expect("created");
        let start = |store: &StoreUnderTest| {
            let (sink, source) = memory_log(50);
            (sink, Ingest::new(Arc::new(source), Arc::clone(&store.tallies), Arc::new(MemoryBus::new())))
        };
        let (first, mut first_loop) = start(&store);
        let (second, mut second_loop) = start(&hooked(&store, Arc::new(LosesTheFirst::default())));
        step(&mut first_loop, MEMORY).await;
        step(&mut second_loop, MEMORY).await;
        let send = |sink: &polling_core::sink::memory::MemorySink, voter| {
            let (sink, vote) = (sink.clone(), cast(&poll, voter, voter, &[1]));
            tokio::spawn(async move { sink.record(vote).await })
        };
        let lost = send(&second, 9);
        tokio::task::yield_now().await;
        assert_eq!(step(&mut second_loop, MEMORY).await, Some(Step::Kept));
        let applied: Vec<_> = (0..others).map(|voter| send(&first, voter)).collect();
        tokio::task::yield_now().await;
        step(&mut first_loop, MEMORY).await;
        for applied in applied {
            assert!(applied.await.expect("no panic").is_ok());
        }
        assert_eq!(step(&mut second_loop, MEMORY).await, Some(Step::Fenced));
        step(&mut second_loop, MEMORY).await;
        let answer = lost.await.expect("no panic");
        assert!(matches!(answer, Err(SinkError::Unknown { .. })), "{answer:?}");
    }
}

proptest! {
    // PROPTEST_CASES sets how many; 10,000 were run before a release.
    #[test]
    fn a_kept_log_is_counted_once_whatever_fails(events in events(), rates in rates(), seed in any::<u32>()) {
        block_on(run_on_a_kept_log(memory_store(), MEMORY, events, rates, seed.into(), Arc::new(Honest)));
    }

    #[test]
    fn an_acknowledged_vote_of_a_memory_log_is_applied_whatever_fails(events in events(), rates in rates(), seed in any::<u32>()) {
        block_on(run_on_a_memory_log(memory_store(), MEMORY, events, rates, seed.into(), || Arc::new(Honest)));
    }
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use polling_core::store::sqlite::{SqliteOptions, SqliteStore};

    use super::*;
    use crate::world::DISK;

    /// On a real file each case syncs it a hundred times, so there are fewer.
    const CASES: u32 = 12;

    /// A store in a folder that is removed when the test is over.
    async fn on<F: Future<Output = ()>>(test: impl FnOnce(StoreUnderTest) -> F) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("polls.db"), SqliteOptions::default()).await.expect("it opens");
        test(StoreUnderTest::forgetful(Arc::new(store))).await;
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(CASES)))]

        #[test]
        fn a_kept_log_is_counted_once_whatever_fails(events in events(), rates in rates(), seed in any::<u32>()) {
            block_on(on(|store| run_on_a_kept_log(store, DISK, events, rates, seed.into(), Arc::new(Honest))));
        }

        #[test]
        fn an_acknowledged_vote_of_a_memory_log_is_applied_whatever_fails(events in events(), rates in rates(), seed in any::<u32>()) {
            block_on(on(|store| run_on_a_memory_log(store, DISK, events, rates, seed.into(), || Arc::new(Honest))));
        }
    }
}
