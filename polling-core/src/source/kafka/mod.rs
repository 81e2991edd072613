//! The reading end of a vote log in Kafka.
//!
//! One consumer on a thread of its own, which always polls, so that its place in the group does not depend on how fast votes are
//! counted. The group only spreads the work. Where to begin comes from the store, on every assignment, and the broker's idea of it is
//! never asked for.
//!
//! A partition stops with an alarm, and the others go on, when what stands in the log cannot be what has to be counted next: a hole in
//! the offsets, a place that the log does not have any more or not yet, another topic under the old name, a record of a version
//! that this program cannot read, or more than a few records that are no votes at all.
//!
//! The log is known by the last record that was counted of each partition, whose digest is kept beside the checkpoint: it is read once
//! more wherever reading begins, unless the log has dropped it by then. So a topic that was replaced, or cut and written anew, while no
//! worker ran is found however long it is. While one runs, the identity of the topic tells before a record of another is read.

mod assembly;
mod backlog;
mod group;
mod reader;
mod retained;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::watch as signal;

use self::assembly::Generation;
pub(crate) use self::backlog::Backlog;
use self::group::Group;
use self::reader::{Command, End, Event, Reader, State};
pub use self::retained::KafkaRetainedLog;
use super::{Refused, SourceError, SourceEvent, VoteSource};
use crate::checkpoint::{Batch, Offset, Partition, RecordDigest};
use crate::kafka::{Cluster, Extent, Reachability, View};
use crate::retry::Pauses;
use crate::store::{Applied, StoreError};

/// The group of the workers, unless another one is named.
pub const GROUP_DEFAULT: &str = "polling";
/// How long the reading thread may go without a turn before it is given up for another: a call into the client that never ends.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// How often the reading thread is looked at.
const STALL_INTERVAL: Duration = Duration::from_secs(5);
/// How long closing waits for the group to be left.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// How long the leader of a partition that is started may take to answer: the next try may find another leader.
const START_WAIT: Duration = Duration::from_secs(4);
/// How often, a second apart, a log must be seen to end before the place to begin: a new leader may not know its end at first.
const TRUNCATION_LOOKS: usize = 5;

const DEFAULTS: [(&str, &str); 6] = [
    // A worker that was killed is missed after this time; one that closes leaves at once.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    // Full fetches under load, and an answer at once without it.
    ("fetch.wait.max.ms", "50"),
    ("fetch.queue.backoff.ms", "20"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
];
const FIXED: [(&str, &str); 6] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    // Brokers hand out what is on their disks without looking at it: a bit that fell over there would be a vote for somebody else. What
    // fails the check is left out, which is a hole.
    ("check.crcs", "true"),
    ("partition.assignment.strategy", "range,roundrobin"),
    ("allow.auto.create.topics", "false"),
];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the threads and the calls have in common, and what is known of the log beyond the life of a consumer.
#[derive(Debug)]
struct Shared {
    generations: Mutex<BTreeMap<Partition, Generation>>,
    /// The offset of the next record to read, of the partitions that are read, or have stopped.
    positions: Mutex<BTreeMap<Partition, Offset>>,
    topic_id: Mutex<Option<u128>>,
    /// Whether somebody waits for a batch.
    is_hungry: AtomicBool,
    last_turn: Mutex<Instant>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            generations: Mutex::default(),
            positions: Mutex::default(),
            topic_id: Mutex::default(),
            is_hungry: AtomicBool::new(false),
            last_turn: Mutex::new(Instant::now()),
        }
    }
}

impl Shared {
    fn next_generation(&self, partition: Partition) -> Generation {
        let mut generations = lock(&self.generations);
        let generation = generations.entry(partition).or_default();
        *generation += 1;
        *generation
    }

    fn is_current(&self, partition: Partition, generation: Generation) -> bool {
        lock(&self.generations).get(&partition) == Some(&generation)
    }

    fn partitions(&self) -> Vec<Partition> {
        lock(&self.positions).keys().copied().collect()
    }

    fn position(&self, partition: Partition) -> Offset {
        lock(&self.positions).get(&partition).copied().unwrap_or_default()
    }

    /// Whether this is not the topic that it was. A broker that does not tell says nothing.
    fn is_another_topic(&self, id: Option<u128>) -> bool {
        let Some(id) = id else { return false };
        *lock(&self.topic_id).get_or_insert(id) != id
    }

    fn is_identity_known(&self) -> bool {
        lock(&self.topic_id).is_some()
    }

    /// Notes that the reader is at work, and where.
    fn note_turn(&self, positions: impl Iterator<Item = (Partition, Offset)>) {
        let mut known = lock(&self.positions);
        known.clear();
        known.extend(positions);
        *lock(&self.last_turn) = Instant::now();
    }

    fn has_stalled(&self) -> bool {
        lock(&self.last_turn).elapsed() > STALLED_AFTER
    }
}

/// Yields votes from Kafka. It joins its group with the first call of [`next`](VoteSource::next), and leaves it when it is
/// closed or dropped.
pub struct KafkaSource {
    cluster: Cluster,
    topic: String,
    group: String,
    takes_unreadable: bool,
    shared: Arc<Shared>,
    reachability: Reachability,
    /// How the reader is talked to; `None` before it was needed.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    view: Mutex<Option<Arc<View>>>,
    link: tokio::sync::Mutex<Link>,
    is_closed: signal::Sender<bool>,
    /// How many reading threads have not ended.
    threads: Arc<signal::Sender<usize>>,
}

/// The side of `next`.
#[derive(Default)]
struct Link {
    events: Option<tokio::sync::mpsc::Receiver<Event>>,
    assigned: BTreeSet<Partition>,
    pauses: Pauses,
    /// When a broken consumer is replaced at the earliest.
    rest_until: Option<tokio::time::Instant>,
}

impl KafkaSource {
    /// A source of the votes in a topic, as a member of a group. Nothing is opened yet.
    #[must_use]
    pub fn new(cluster: Cluster, topic: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            cluster,
            topic: topic.into(),
            group: group.into(),
            takes_unreadable: false,
            shared: Arc::default(),
            reachability: Reachability::default(),
            commands: Mutex::default(),
            view: Mutex::default(),
            link: tokio::sync::Mutex::default(),
            is_closed: signal::Sender::new(false),
            threads: Arc::new(signal::Sender::new(0)),
        }
    }

    /// Sets aside however many records cannot be read, instead of stopping a partition that has more than a few. For a person who has
    /// looked at them.
    #[must_use]
    pub fn accepting_unreadable(mut self, accepts: bool) -> Self {
        self.takes_unreadable = accepts;
        self
    }

    /// Leaves the group, so that the partitions go to another worker at once, and yields nothing but
    /// [`SourceEvent::Closed`] from now on. Waits at most ten seconds for the group. Doing it again does nothing.
    ///
    /// Dropping the future does not stop the closing.
    pub async fn close(&self) {
        self.is_closed.send_replace(true);
        self.command(Command::Close);
        let mut threads = self.threads.subscribe();
        let ended = tokio::time::timeout(CLOSE_WAIT, threads.wait_for(|running| *running == 0)).await;
        if ended.is_err() {
            tracing::warn!(group = self.group, "the group was not left in time; it finds out by itself");
        }
    }

    /// Why votes cannot be read just now, as far as the consumer knows: no broker, or a partition without a leader.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.reachability.trouble()
    }

    fn view(&self) -> Result<Arc<View>, crate::store::Source> {
        let mut view = lock(&self.view);
        if let Some(view) = view.as_ref() {
            return Ok(Arc::clone(view));
        }
        let made = Arc::new(View::open(&self.cluster, &self.topic, "watch")?);
        *view = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Makes a consumer with its threads.
    fn connect(&self) -> Result<tokio::sync::mpsc::Receiver<Event>, crate::store::Source> {
        let mut fixed = FIXED.to_vec();
        fixed.push(("group.id", &self.group));
        let consumer: BaseConsumer<Group> =
            self.cluster.config(&DEFAULTS, &fixed).create_with_context(Group::new(self.reachability.clone()))?;
        consumer.subscribe(&[&self.topic])?;
        let view = self.view()?;
        let (commands, commanded) = mpsc::channel();
        let (look, looks) = mpsc::channel();
        // Room for one event: what waits longer waits in the reader, where a batch can still grow.
        let (events, yielded) = tokio::sync::mpsc::channel(1);
        let (shared, handed_over) = (Arc::clone(&self.shared), events.downgrade());
        shared.note_turn(std::iter::empty());
        let mut state = State::default();
        state.assembly.takes_unreadable = self.takes_unreadable;
        let reader = Reader { consumer, topic: self.topic.clone(), shared, commands: commanded, events, look, state };
        let threads = Arc::clone(&self.threads);
        let work = move || {
            if let End::Broken(reason) = reader.run() {
                metrics::counter!("polling_kafka_consumers_replaced_total").increment(1);
                tracing::error!(reason, "a Kafka consumer is broken and is replaced");
            }
            threads.send_modify(|running| *running -= 1);
        };
        // Counted before it runs, so that closing waits for it in any case.
        self.threads.send_modify(|running| *running += 1);
        if let Err(error) = thread::Builder::new().name("kafka-source".to_owned()).spawn(work) {
            self.threads.send_modify(|running| *running -= 1);
            return Err(error.into());
        }
        let (shared, reader) = (Arc::clone(&self.shared), commands.clone());
        thread::Builder::new()
            .name("kafka-watch".to_owned())
            .spawn(move || watch::watch(&view, &shared, &looks, &reader, &handed_over))?;
        *lock(&self.commands) = Some(commands);
        Ok(yielded)
    }

    fn command(&self, command: Command) {
        if let Some(commands) = lock(&self.commands).as_ref() {
            // A reader that is gone is replaced by `next`, and every partition starts anew.
            let _gone = commands.send(command);
        }
    }

    /// What the event is to whoever counts; nothing when a later start has overtaken it.
    fn translate(&self, link: &mut Link, event: Event) -> Option<Result<SourceEvent, SourceError>> {
        let event = match event {
            Event::Assigned(partitions) => {
                link.assigned.extend(&partitions);
                SourceEvent::Assigned(partitions)
            }
            Event::Revoked(partitions) => {
                link.assigned.retain(|assigned| !partitions.contains(assigned));
                SourceEvent::Revoked(partitions)
            }
            Event::Batch(parts) => {
                link.pauses.reset();
                let current = parts.into_iter().filter(|(generation, part)| self.shared.is_current(part.partition, *generation));
                let batch = Batch::new(current.map(|(_, part)| part).collect())?;
                if batch.is_empty() {
                    return None;
                }
                SourceEvent::Batch(batch)
            }
            Event::Stopped { partition, alarm } => SourceEvent::Stopped { partition, alarm },
            Event::Trouble(reason) => return Some(Err(SourceError(reason.into()))),
        };
        Some(Ok(event))
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.command(Command::Close);
    }
}

/// What is seen of a partition before it is read.
enum Examined {
    /// It can be what has to be counted. Whether the record before is still there, to be compared.
    Sound { has_last: bool },
    /// It cannot, and why.
    Unsound(String),
}

/// Whether the log can be what has to be counted from `next` on.
fn examine(view: &View, shared: &Shared, partition: Partition, next: Offset) -> Result<Examined, crate::store::Source> {
    // Brokers that have not told an identity so far are not asked again: that would only take time.
    if shared.is_identity_known() && shared.is_another_topic(view.topic_id()) {
        return Ok(Examined::Unsound(reader::REPLACED.to_owned()));
    }
    let mut extent = view.extent_within(partition, START_WAIT)?;
    for _ in 1..TRUNCATION_LOOKS {
        if extent.end >= next {
            break;
        }
        thread::sleep(Duration::from_secs(1));
        extent = view.extent_within(partition, START_WAIT)?;
    }
    let Extent { first, end } = extent;
    let is_there = (first..=end).contains(&next);
    Ok(if is_there { Examined::Sound { has_last: first < next } } else { Examined::Unsound(reader::out_of_range(next, extent)) })
}

#[async_trait]
impl VoteSource for KafkaSource {
    async fn next(&self) -> Result<SourceEvent, SourceError> {
        let mut link = self.link.lock().await;
        let mut closed = self.is_closed.subscribe();
        loop {
            if *closed.borrow_and_update() {
                return Ok(SourceEvent::Closed);
            }
            if let Some(until) = link.rest_until {
                tokio::select! {
                    _ = closed.changed() => continue,
                    () = tokio::time::sleep_until(until) => link.rest_until = None,
                }
            }
            if link.events.is_none() {
                link.events = Some(self.connect().map_err(SourceError)?);
            }
            let Some(events) = link.events.as_mut() else { continue };
            self.shared.is_hungry.store(true, Ordering::Release);
            let received = tokio::select! {
                biased;
                _ = closed.changed() => continue,
                event = events.recv() => event,
                () = tokio::time::sleep(STALL_INTERVAL) => {
                    if !self.shared.has_stalled() {
                        continue;
                    }
                    tracing::error!("the thread that reads from Kafka has stalled and is given up");
                    metrics::counter!("polling_kafka_consumers_replaced_total").increment(1);
                    None
                }
            };
            let event = match received {
                Some(event) => {
                    if matches!(event, Event::Batch(_)) {
                        self.shared.is_hungry.store(false, Ordering::Release);
                    }
                    self.translate(&mut link, event)
                }
                None => {
                    // The consumer is broken. Another one takes its place, and gets what is ours from the group anew.
                    link.events = None;
                    link.rest_until = Some(tokio::time::Instant::now() + link.pauses.next_pause());
                    let lost: Vec<Partition> = std::mem::take(&mut link.assigned).into_iter().collect();
                    for &partition in &lost {
                        self.shared.next_generation(partition);
                        reader::show_lag(partition, 0);
                    }
                    (!lost.is_empty()).then_some(Ok(SourceEvent::Revoked(lost)))
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    async fn start(&self, partition: Partition, next: Offset, last: Option<RecordDigest>) -> Result<(), SourceError> {
        let generation = self.shared.next_generation(partition);
        let view = self.view().map_err(SourceError)?;
        let shared = Arc::clone(&self.shared);
        let examined = tokio::task::spawn_blocking(move || examine(&view, &shared, partition, next));
        let examined = examined.await.map_err(|error| SourceError(error.into()))?.map_err(SourceError)?;
        self.command(match examined {
            Examined::Sound { has_last } => Command::Start { partition, generation, next, before: last.filter(|_| has_last) },
            Examined::Unsound(alarm) => Command::Stop { partition, generation, next, alarm },
        });
        Ok(())
    }

    async fn acknowledge(&self, batch: &Batch, _applied: Option<&Applied>) {
        self.command(Command::Applied(batch.parts().iter().map(|part| (part.partition, part.next())).collect()));
    }

    async fn refuse(&self, _batch: &Batch, _error: &StoreError) -> Refused {
        Refused::Kept
    }
}
