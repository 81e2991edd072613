//! What the counting loop does about partitions that cannot be started, or have stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use polling_core::bus::memory::MemoryBus;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::checkpoint::{Batch, Checkpoint, Offset, Partition, RecordDigest};
use polling_core::conformance::fixture::{cast, part, poll};
use polling_core::ingest::{Health, Ingest};
use polling_core::model::Poll;
use polling_core::shutdown::Shutdown;
use polling_core::source::{Refused, SourceError, SourceEvent, VoteSource};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, PollStore, StoreError, TallyStore};
use tokio::sync::{Mutex, mpsc, watch};

use crate::world::{Honest, Hooked, Hooks};

/// How long the log takes to say that a partition has no leader.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest pause before a partition is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A log that yields what a test puts into it, and one of whose partitions has no leader at first.
struct Log {
    events: Mutex<mpsc::UnboundedReceiver<SourceEvent>>,
    leaderless: watch::Sender<Option<Partition>>,
    attempts: AtomicUsize,
    started: watch::Sender<Vec<Partition>>,
}

#[async_trait]
impl VoteSource for Log {
    async fn next(&self) -> Result<SourceEvent, SourceError> {
        let event = self.events.lock().await.recv().await;
        Ok(event.unwrap_or(SourceEvent::Closed))
    }

    async fn start(&self, partition: Partition, _next: Offset, _last: Option<RecordDigest>) -> Result<(), SourceError> {
        if *self.leaderless.borrow() == Some(partition) {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(ANSWER).await;
            return Err(SourceError("no leader".into()));
        }
        self.started.send_modify(|started| started.push(partition));
        Ok(())
    }

    async fn acknowledge(&self, _batch: &Batch, _applied: Option<&Applied>) {}

    async fn refuse(&self, _batch: &Batch, _error: &StoreError) -> Refused {
        Refused::Kept
    }
}

/// A counting loop over such a log.
struct Counting {
    log: Arc<Log>,
    events: mpsc::UnboundedSender<SourceEvent>,
    health: watch::Receiver<Health>,
    news: BoxStream<'static, Notice>,
    poll: Poll,
    running: tokio::task::JoinHandle<()>,
}

impl Counting {
    async fn start(leaderless: Option<Partition>) -> Self {
        Self::start_on(leaderless, Arc::new(Honest)).await
    }

    async fn start_on(leaderless: Option<Partition>, hooks: Arc<dyn Hooks>) -> Self {
        let (events, received) = mpsc::unbounded_channel();
        let leaderless = watch::Sender::new(leaderless);
        let (attempts, started) = (AtomicUsize::new(0), watch::Sender::default());
        let log = Arc::new(Log { events: Mutex::new(received), leaderless, attempts, started });
        let (store, bus) = (Arc::new(MemoryStore::default()), MemoryBus::new());
        let poll = poll(2, |_| {});
        store.create(&poll).await.expect("created");
        let news = bus.subscribe().await.expect("subscribed");
        let store = Arc::new(Hooked { inner: store, hooks });
        let ingest = Ingest::new(Arc::clone(&log) as Arc<dyn VoteSource>, store, Arc::new(bus));
        let health = ingest.health();
        Self { log, events, health, news, poll, running: tokio::spawn(ingest.run(Shutdown::new())) }
    }

    fn yields(&self, event: SourceEvent) {
        self.events.send(event).expect("it is read");
    }

    fn yields_vote(&self, partition: u32, offset: u32) {
        let voter = partition * 1000 + offset;
        let vote = cast(&self.poll, voter, voter, &[1]);
        self.yields(SourceEvent::Batch(Batch::single(part(partition, offset.into(), &[vote]))));
    }

    async fn counts_up_to(&mut self, wanted: Partition, end: usize) {
        let reached = Update::Progress { partition: wanted, next: Offset::ZERO.plus(end) };
        let is_reached = |notice: &Notice| matches!(notice, Notice::Updates(updates) if updates.contains(&reached));
        while !is_reached(&self.news.next().await.expect("the bus is there")) {}
    }

    /// How long it takes until the partition is read.
    async fn starts(&self, wanted: Partition) -> Duration {
        let began = tokio::time::Instant::now();
        self.log.started.subscribe().wait_for(|started| started.contains(&wanted)).await.expect("the log is there");
        began.elapsed()
    }

    async fn ends(self) {
        drop(self.events);
        self.running.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_started_is_tried_again_soon_and_takes_no_time_from_the_others() {
    let (sound, leaderless) = (Partition(1), Partition(0));
    let mut counting = Counting::start(Some(leaderless)).await;
    counting.yields(SourceEvent::Assigned(vec![leaderless, sound]));
    counting.starts(sound).await;
    let began = tokio::time::Instant::now();
    for offset in 0..600 {
        let yielded = tokio::time::Instant::now();
        counting.yields_vote(sound.0, offset);
        counting.counts_up_to(sound, offset as usize + 1).await;
        assert_eq!(yielded.elapsed(), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let attempts = u32::try_from(counting.log.attempts.load(Ordering::Relaxed)).expect("a few");
    assert!((ANSWER + PAUSE_MAX) * attempts >= began.elapsed(), "{attempts} attempts in {:?}", began.elapsed());

    counting.log.leaderless.send_replace(None);
    assert!(counting.starts(leaderless).await <= ANSWER + PAUSE_MAX);
    counting.yields_vote(leaderless.0, 0);
    counting.counts_up_to(leaderless, 1).await;
    counting.ends().await;
}

/// Says where to begin when it is let.
struct Slow(watch::Receiver<bool>);

#[async_trait]
impl Hooks for Slow {
    async fn checkpoint(&self, inner: &Arc<dyn TallyStore>) -> Result<Checkpoint, StoreError> {
        self.0.clone().wait_for(|is_let| *is_let).await.expect("the test goes on");
        inner.checkpoint().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_say_where_to_begin_keeps_no_partition_from_being_counted() {
    let lets = watch::Sender::new(true);
    let mut counting = Counting::start_on(None, Arc::new(Slow(lets.subscribe()))).await;
    let (started, new) = (Partition(0), Partition(1));
    counting.yields(SourceEvent::Assigned(vec![started]));
    counting.starts(started).await;
    lets.send_replace(false);
    counting.yields(SourceEvent::Assigned(vec![new]));
    counting.yields_vote(started.0, 0);
    counting.counts_up_to(started, 1).await;
    assert!(!counting.log.started.borrow().contains(&new));
    lets.send_replace(true);
    counting.starts(new).await;
    counting.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_taken_away_is_not_started() {
    let leaderless = Partition(0);
    let counting = Counting::start(Some(leaderless)).await;
    counting.yields(SourceEvent::Assigned(vec![leaderless]));
    tokio::time::sleep(ANSWER * 2).await;
    counting.yields(SourceEvent::Revoked(vec![leaderless]));
    tokio::time::sleep(ANSWER).await;
    let attempts = counting.log.attempts.load(Ordering::Relaxed);
    tokio::time::sleep(ANSWER * 100).await;
    assert_eq!(counting.log.attempts.load(Ordering::Relaxed), attempts);
    counting.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_started_again_has_not_stopped() {
    let mut counting = Counting::start(None).await;
    let mut health = counting.health.clone();
    counting.yields(SourceEvent::Assigned(vec![Partition(0), Partition(1)]));
    for (partition, alarm) in [(0, "a hole"), (1, "a hole"), (0, "another hole")] {
        counting.yields(SourceEvent::Stopped { partition: Partition(partition), alarm: alarm.to_owned() });
    }
    let stopped = [(Partition(1), "a hole".to_owned()), (Partition(0), "another hole".to_owned())];
    health.wait_for(|health| health.stopped == stopped).await.expect("it runs");
    // Somebody else counts it: what this one knew of it is of no interest.
    counting.yields_vote(0, 7);
    health.wait_for(|health| health.stopped == stopped[..1]).await.expect("it runs");
    counting.yields_vote(0, 0);
    counting.counts_up_to(Partition(0), 1).await;
    counting.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_memory_log_is_given_to_whoever_comes_after_one_that_did_not_start_it() {
    let (_sink, source) = polling_core::sink::memory::memory_log(1);
    for asked in 1..=2 {
        let event = tokio::time::timeout(ANSWER * 100, source.next()).await.expect("it is assigned").expect("the log is read");
        assert!(matches!(event, SourceEvent::Assigned(_)), "asked {asked} times: {event:?}");
    }
}
