//! The thread that reads: it owns the consumer, always polls it, and alone decides what becomes of a partition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as ClientOffset, TopicPartitionList};
use tokio::sync::mpsc::error::TrySendError;

use super::assembly::{Assembly, Generation, Verdict};
use super::group::{Group, Rebalance};
use super::watch::{Look, Sight};
use super::{Shared, lock};
use crate::checkpoint::{Offset, Partition, PartitionBatch, RecordDigest};
use crate::kafka::Extent;

/// How long a poll waits when nothing is under way: how late a command is obeyed at most.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// How long a poll waits when a batch waits for whoever counts: how late the batch is handed over at most.
const HANDOVER_WAIT: Duration = Duration::from_millis(1);
/// Records taken before anything else is looked at.
const RECORDS_PER_TURN: usize = 1_000;
/// How often the broker is told how far counting is, for its dashboards.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a partition may yield nothing while it has records, before the consumer is taken for broken: longer than a change of
/// leaders or of the group takes.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often in a row a partition must be seen to end before our place in it, which does not move meanwhile.
const TRUNCATION_LOOKS: u32 = 4;
/// The alarm for a topic that is another one.
pub(super) const REPLACED: &str = "the topic was deleted and another one has its name";

/// What the rest of the source tells the reader.
#[derive(Debug)]
pub(super) enum Command {
    Start {
        partition: Partition,
        generation: Generation,
        next: Offset,
        /// What the record before that is recognised by, when it is known and the record is there.
        before: Option<RecordDigest>,
    },
    Stop {
        partition: Partition,
        generation: Generation,
        /// Where it stands.
        next: Offset,
        alarm: String,
    },
    Applied(Vec<(Partition, Offset)>),
    /// What the watch saw of the partitions.
    Seen(BTreeMap<Partition, Sight>),
    /// The topic is not the one that was read before.
    Replaced,
    Close,
}

/// What the reader tells the rest of the source.
#[derive(Debug)]
pub(super) enum Event {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    Batch(Vec<(Generation, PartitionBatch)>),
    Stopped {
        partition: Partition,
        alarm: String,
    },
    /// The log cannot be read just now, and why.
    Trouble(String),
}

/// Why the reader ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Broken(String),
}

/// The reading end of one consumer. [`run`](Self::run) is its thread.
pub(super) struct Reader {
    /// Stands before the consumer, so that it goes first: whoever waits must not wait for a consumer that does not end.
    pub(super) events: tokio::sync::mpsc::Sender<Event>,
    pub(super) consumer: BaseConsumer<Group>,
    pub(super) topic: String,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Wakes the watch.
    pub(super) look: mpsc::Sender<Look>,
    pub(super) state: State,
}

/// What the reader knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) assembly: Assembly,
    /// Events for which there was no room; at most some for each partition, and one for all that were taken away.
    outbox: VecDeque<Event>,
    /// The partitions that the group gave to us.
    ours: BTreeSet<Partition>,
    /// Those of them that have stopped, and where.
    stopped: BTreeMap<Partition, Offset>,
    /// Whether the consumer must be told anew what to read from where.
    is_reassignment_due: bool,
    /// Since when the partitions are paused, because whoever counts is slow.
    held_since: Option<Instant>,
    /// Whether the client has lost an offset. The watch will say which.
    is_offset_lost: bool,
    /// Partitions whose end was seen before the position, that position, and how often in a row. A new leader may not know its end at
    /// first.
    truncated: BTreeMap<Partition, (Offset, u32)>,
    applied: BTreeMap<Partition, Offset>,
    last_commit: Option<Instant>,
    fatal: Option<String>,
}

impl State {
    /// Where every partition stands that is read, or has stopped.
    fn places(&self) -> impl Iterator<Item = (Partition, Offset)> {
        let read = self.assembly.progress().map(|(partition, next, _)| (partition, next));
        read.chain(self.stopped.iter().map(|(&partition, &next)| (partition, next)))
    }
}

impl Reader {
    pub(super) fn run(mut self) -> End {
        loop {
            self.shared.note_turn(self.state.places());
            if !self.obey() {
                self.consumer.unsubscribe();
                return End::Closed;
            }
            self.reassign_if_due();
            self.read();
            if !self.hand_over() {
                self.consumer.unsubscribe();
                return End::Closed;
            }
            self.hold_or_go_on();
            self.commit_if_due();
            if let Some(reason) = self.state.fatal.take() {
                return End::Broken(reason);
            }
        }
    }

    /// Follows what was commanded; `false` when that is to close.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Start { partition, generation, next, before }) => self.start(partition, generation, next, before),
                Ok(Command::Stop { partition, generation, next, alarm }) => {
                    if self.state.ours.contains(&partition) && self.shared.is_current(partition, generation) {
                        self.stop(partition, next, alarm);
                    }
                }
                Ok(Command::Applied(positions)) => self.state.applied.extend(positions),
                Ok(Command::Seen(sights)) => self.judge(&sights),
                Ok(Command::Replaced) => {
                    let places: Vec<_> = self.state.assembly.progress().collect();
                    places.into_iter().for_each(|(partition, next, _)| self.stop(partition, next, REPLACED.to_owned()));
                }
                Ok(Command::Close) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn start(&mut self, partition: Partition, generation: Generation, next: Offset, before: Option<RecordDigest>) {
        if !self.state.ours.contains(&partition) || !self.shared.is_current(partition, generation) {
            return;
        }
        self.state.stopped.remove(&partition);
        self.state.assembly.start(partition, generation, next, before);
        self.state.is_reassignment_due = true;
    }

    /// Stops a partition at `next`, behind what was read of it; the others go on.
    fn stop(&mut self, partition: Partition, next: Offset, alarm: String) {
        if !self.state.assembly.is_empty() {
            let batch = self.state.assembly.hand_over();
            self.state.outbox.push_back(Event::Batch(batch));
        }
        self.state.assembly.leave(partition);
        self.state.stopped.insert(partition, next);
        self.state.outbox.push_back(Event::Stopped { partition, alarm });
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, number(partition));
        // Whatever still comes from it is not taken; the pause only saves the transfer.
        if let Err(error) = self.consumer.pause(&list) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                partition = partition.0,
                "a stopped partition is not paused"
            );
        }
    }

    /// Compares what the brokers have with where we stand.
    fn judge(&mut self, sights: &BTreeMap<Partition, Sight>) {
        // Given up: what it knows is nothing to its successor.
        if self.events.is_closed() {
            return;
        }
        let is_offset_lost = mem::take(&mut self.state.is_offset_lost);
        if is_offset_lost {
            // Those that are out of range stop below. The others begin again where they stand, and show that they are the same log.
            self.state.assembly.compare_all();
            self.state.is_reassignment_due = true;
        }
        let positions: Vec<_> = self.state.assembly.progress().collect();
        for (partition, next, last_progress) in positions {
            let Some(&Sight { position, extent, is_damaged }) = sights.get(&partition) else { continue };
            if is_damaged && position == next {
                self.stop(
                    partition,
                    next,
                    format!("the record at offset {next}, or the one before it, is damaged on the broker that leads"),
                );
                continue;
            }
            if extent.first > next || self.is_truncated(partition, next, position, extent) {
                self.stop(partition, next, out_of_range(next, extent));
                continue;
            }
            if extent.first == next {
                self.state.assembly.skip_comparison(partition);
            }
            let lag = extent.end.since(next).unwrap_or(0);
            show_lag(partition, lag);
            if lag == 0 {
                self.state.assembly.note_nothing_to_read(partition);
            }
            if lag > 0 && self.state.held_since.is_none() && last_progress.elapsed() > STUCK_AFTER {
                self.state.fatal = Some(format!("partition {partition} yields nothing and has {lag} records"));
            }
        }
        for (&partition, &next) in &self.state.stopped {
            // Of one that has just stopped here, too: it grows from now on.
            let Some(&Sight { extent, .. }) = sights.get(&partition) else { continue };
            show_lag(partition, extent.end.since(next.max(extent.first)).unwrap_or(0));
        }
    }

    /// Whether the partition was seen often enough to end before a place that was ours before the look and still is.
    fn is_truncated(&mut self, partition: Partition, next: Offset, position: Offset, extent: Extent) -> bool {
        if extent.end >= position || position != next {
            self.state.truncated.remove(&partition);
            return false;
        }
        let (seen_at, looks) = self.state.truncated.entry(partition).or_insert((next, 0));
        if *seen_at != next {
            (*seen_at, *looks) = (next, 0);
        }
        *looks += 1;
        *looks >= TRUNCATION_LOOKS
    }

    /// Invariant: an assignment names the offset of every partition, so that the client never has to pick one.
    fn reassign_if_due(&mut self) {
        if !mem::take(&mut self.state.is_reassignment_due) {
            return;
        }
        let mut list = TopicPartitionList::new();
        let added: Result<(), KafkaError> = self.state.assembly.positions().try_for_each(|(partition, offset)| {
            list.add_partition_offset(&self.topic, number(partition), ClientOffset::Offset(offset.get()))
        });
        // A pause outlives an assignment, and partitions come here that were paused when they stopped or were held.
        let assigned = added.and_then(|()| self.consumer.assign(&list)).and_then(|()| self.consumer.resume(&list));
        if let Err(error) = assigned {
            self.state.fatal = Some(format!("the partitions cannot be assigned: {error}"));
        }
        self.let_go();
    }

    /// Notes that the partitions are read again. What they did not yield meanwhile is nobody's fault.
    fn let_go(&mut self) {
        if let Some(held_since) = self.state.held_since.take() {
            self.state.assembly.leave_out(held_since.elapsed());
        }
    }

    /// Polls, which also keeps our place in the group, whether or not there is room for a record.
    fn read(&mut self) {
        let mut wait = if self.state.assembly.is_empty() && self.state.outbox.is_empty() { IDLE_WAIT } else { HANDOVER_WAIT };
        for _ in 0..RECORDS_PER_TURN {
            let verdict = match self.consumer.poll(wait) {
                Some(Ok(message)) => take(&mut self.state.assembly, &message),
                Some(Err(error)) => {
                    self.note(&error);
                    None
                }
                // Nothing came, or something that is no record, such as a decision of the group.
                None => {
                    self.follow_group();
                    return;
                }
            };
            match verdict {
                Some((_, Verdict::Fine)) | None => {}
                Some((_, Verdict::OutOfPlace)) => self.state.is_reassignment_due = true,
                Some((partition, Verdict::Stop(alarm))) => {
                    if let Some(next) = self.state.assembly.next(partition) {
                        self.stop(partition, next, alarm);
                    }
                }
            }
            if self.state.is_reassignment_due || self.state.assembly.is_full() {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    fn note(&mut self, error: &KafkaError) {
        match error {
            KafkaError::MessageConsumptionFatal(_) => self.state.fatal = Some(error.to_string()),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                self.state.is_offset_lost = true;
                // A watch that is gone has nobody to tell.
                let _gone = self.look.send(Look::Usual);
            }
            // The client leaves the record out, loses its way behind it, and does not say in which partition.
            KafkaError::MessageConsumption(RDKafkaErrorCode::BadMessage) => {
                let _gone = self.look.send(Look::Close);
            }
            KafkaError::MessageConsumption(code) if is_trouble(*code) && self.state.outbox.is_empty() => {
                self.state.outbox.push_back(Event::Trouble(error.to_string()));
            }
            // One broker of several is away, or something else that the client works around by itself, and has counted and said.
            _ => {}
        }
    }

    fn follow_group(&mut self) {
        // Given up while the client kept this thread: what the group decides about this member is nothing to its successor.
        if self.events.is_closed() {
            return;
        }
        let rebalances = mem::take(&mut *lock(&self.consumer.context().rebalances));
        for rebalance in rebalances {
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(?partitions, "partitions were assigned");
                    self.state.ours.extend(&partitions);
                    self.state.outbox.push_back(Event::Assigned(partitions));
                }
                Rebalance::Revoked(partitions) => {
                    tracing::info!(?partitions, "partitions were revoked");
                    for &partition in &partitions {
                        self.shared.next_generation(partition);
                        self.state.assembly.leave(partition);
                        self.state.ours.remove(&partition);
                        self.state.stopped.remove(&partition);
                        self.state.applied.remove(&partition);
                        self.state.truncated.remove(&partition);
                        // Whoever reads it now says how far it is.
                        show_lag(partition, 0);
                    }
                    self.announce_revoked(partitions);
                }
            }
        }
    }

    /// The group takes all partitions back at once, so what waited to be said of them is nothing any more: however often the group changes
    /// while nobody listens, little waits.
    fn announce_revoked(&mut self, mut partitions: Vec<Partition>) {
        self.state.outbox.retain(|event| matches!(event, Event::Revoked(_)));
        if let Some(Event::Revoked(before)) = self.state.outbox.back_mut() {
            before.append(&mut partitions);
            before.sort_unstable();
            before.dedup();
        } else {
            self.state.outbox.push_back(Event::Revoked(partitions));
        }
    }

    /// Hands over what there is room for, a batch only to somebody who waits or when it is full: so that a batch grows while the one
    /// before is applied. `false` when nobody will ever take it.
    fn hand_over(&mut self) -> bool {
        while let Some(event) = self.state.outbox.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.state.outbox.push_front(event);
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        let is_wanted = self.shared.is_hungry.load(Ordering::Acquire) || self.state.assembly.is_full();
        if !self.state.assembly.is_empty() && is_wanted && self.events.capacity() > 0 {
            let batch = self.state.assembly.hand_over();
            self.state.outbox.push_back(Event::Batch(batch));
            return self.hand_over();
        }
        !self.events.is_closed()
    }

    /// Pauses the partitions while a full batch waits, and not the polling.
    fn hold_or_go_on(&mut self) {
        let hold = self.state.assembly.is_full();
        if hold == self.state.held_since.is_some() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, _) in self.state.assembly.positions() {
            list.add_partition(&self.topic, number(partition));
        }
        let done = if hold {
            self.state.held_since = Some(Instant::now());
            self.consumer.pause(&list)
        } else {
            self.let_go();
            self.consumer.resume(&list)
        };
        if let Err(error) = done {
            // Going on would let the batch grow without a bound, or stand still for ever.
            self.state.fatal = Some(format!("the partitions are neither held nor let go: {error}"));
        }
    }

    fn commit_if_due(&mut self) {
        let is_due = self.state.last_commit.is_none_or(|last| last.elapsed() >= COMMIT_INTERVAL);
        if self.state.applied.is_empty() || !is_due {
            return;
        }
        self.state.last_commit = Some(Instant::now());
        let mut list = TopicPartitionList::new();
        let applied = mem::take(&mut self.state.applied);
        let added: Result<(), KafkaError> = applied.iter().try_for_each(|(&partition, next)| {
            list.add_partition_offset(&self.topic, number(partition), ClientOffset::Offset(next.get()))
        });
        // Nothing depends on it: the offsets that count are in the store.
        if let Err(error) = added.and_then(|()| self.consumer.commit(&list, CommitMode::Async)) {
            tracing::debug!(error = &error as &dyn std::error::Error, "the broker was not told how far counting is");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and no lag is near its precision")]
pub(super) fn show_lag(partition: Partition, records: u64) {
    metrics::gauge!("polling_partition_lag_records", "partition" => partition.0.to_string()).set(records as f64);
}

fn take(assembly: &mut Assembly, message: &BorrowedMessage<'_>) -> Option<(Partition, Verdict)> {
    let partition = u32::try_from(message.partition()).ok().map(Partition)?;
    let offset = Offset::new(message.offset())?;
    Some((partition, assembly.take(partition, offset, message.payload().unwrap_or_default())))
}

/// The alarm for a place that the log does not have.
pub(super) fn out_of_range(next: Offset, extent: Extent) -> String {
    let Extent { first, end } = extent;
    if first > next {
        format!("the next record to count is at offset {next} and the log begins at {first}: records are gone")
    } else {
        format!("the next record to count is at offset {next} and the log ends at {end}: it was cut, or it is another one")
    }
}

/// Whether nothing can be read until somebody, or time, removes the cause.
const fn is_trouble(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication
    )
}

fn number(partition: Partition) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::{KafkaSource, STALLED_AFTER};
    use super::*;
    use crate::kafka::{Cluster, Reachability};
    use crate::source::{SourceEvent, VoteSource as _};

    const P: Partition = Partition(0);

    fn offset(number: i64) -> Offset {
        Offset::new(number).expect("not negative")
    }

    /// A reader of one partition, started at 5, whose brokers never answer, with the other ends of what it talks to.
    fn reader() -> (Reader, tokio::sync::mpsc::Receiver<Event>, TcpListener) {
        let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let cluster = Cluster::new(silent.local_addr().expect("an address").to_string());
        let consumer: BaseConsumer<Group> =
            cluster.config(&[], &[("group.id", "g")]).create_with_context(Group::new(Reachability::default())).expect("a client");
        let (events, yielded) = tokio::sync::mpsc::channel(1);
        let ((_, commands), (look, _)) = (mpsc::channel(), mpsc::channel());
        let shared = Arc::<Shared>::default();
        let mut reader = Reader { consumer, topic: "votes".to_owned(), shared, commands, events, look, state: State::default() };
        reader.state.ours.insert(P);
        let generation = reader.shared.next_generation(P);
        reader.start(P, generation, offset(5), None);
        (reader, yielded, silent)
    }

    fn sight(end: i64) -> BTreeMap<Partition, Sight> {
        let extent = Extent { first: offset(0), end: offset(end) };
        BTreeMap::from([(P, Sight { position: offset(5), extent, is_damaged: false })])
    }

    #[test]
    fn a_partition_that_has_records_and_yields_none_breaks_the_consumer() {
        let (mut reader, _yielded, _silent) = reader();
        reader.judge(&sight(9));
        assert_eq!(reader.state.fatal, None, "it was started just now");
        reader.state.assembly.age(STUCK_AFTER);
        reader.judge(&sight(5));
        assert_eq!(reader.state.fatal, None, "there is nothing to yield");
        reader.judge(&sight(9));
        assert_eq!(reader.state.fatal, None, "there was nothing to yield until now");
        reader.state.assembly.age(STUCK_AFTER);
        reader.judge(&sight(9));
        assert_eq!(reader.state.fatal.as_deref(), Some("partition 0 yields nothing and has 4 records"));
    }

    #[test]
    fn a_consumer_that_was_held_back_is_not_broken() {
        let (mut reader, _yielded, _silent) = reader();
        reader.state.assembly.age(STUCK_AFTER);
        reader.state.held_since = Some(Instant::now().checked_sub(STUCK_AFTER).expect("the machine runs for longer"));
        reader.judge(&sight(9));
        assert_eq!(reader.state.fatal, None, "it may not yield");
        // The batch was taken, and the next look comes before the first record.
        reader.hold_or_go_on();
        assert_eq!(reader.state.held_since, None);
        reader.judge(&sight(9));
        assert_eq!(reader.state.fatal, None, "it could not yield yet");
        reader.state.assembly.age(STUCK_AFTER);
        reader.judge(&sight(9));
        assert!(reader.state.fatal.is_some(), "it yields nothing, and nobody holds it back any more");
    }

    #[test]
    fn a_log_is_cut_only_when_its_end_stays_before_our_place() {
        let (mut reader, mut yielded, _silent) = reader();
        (1..TRUNCATION_LOOKS).for_each(|_| reader.judge(&sight(3)));
        reader.judge(&sight(5));
        (1..TRUNCATION_LOOKS).for_each(|_| reader.judge(&sight(3)));
        assert!(reader.hand_over() && yielded.try_recv().is_err(), "a new leader may not know its end at first");
        reader.judge(&sight(3));
        assert!(reader.hand_over());
        assert!(matches!(yielded.try_recv(), Ok(Event::Stopped { partition: P, .. })));
    }

    #[cfg(feature = "operate")]
    #[test]
    fn the_lag_of_a_partition_that_has_stopped_grows_and_one_that_is_anothers_has_none_here() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        let assert_lag = |records: u64| {
            let (page, line) = (shown.render(), format!("polling_partition_lag_records{{partition=\"0\"}} {records}\n"));
            assert!(page.contains(&line), "{line}{page}");
        };
        metrics::with_local_recorder(&recorder, || {
            let (mut reader, _yielded, _silent) = reader();
            reader.judge(&sight(9));
            assert_lag(4);
            reader.stop(P, offset(5), "a hole".to_owned());
            assert_eq!(reader.state.places().collect::<Vec<_>>(), [(P, offset(5))], "it is looked at");
            reader.judge(&sight(12));
            assert_lag(7);
            lock(&reader.consumer.context().rebalances).push_back(Rebalance::Revoked(vec![P]));
            reader.follow_group();
            assert_lag(0);
            reader.judge(&sight(12));
            assert_lag(0);
        });
    }

    #[test]
    fn little_waits_however_often_the_group_changes() {
        let (mut reader, mut yielded, _silent) = reader();
        for number in 0..100 {
            let ours = vec![P, Partition(1 + number % 2)];
            let rebalances = [Rebalance::Revoked(ours.clone()), Rebalance::Assigned(ours)];
            lock(&reader.consumer.context().rebalances).extend(rebalances);
            reader.follow_group();
        }
        assert_eq!(reader.state.outbox.len(), 2);
        let mut said = Vec::new();
        while reader.hand_over() && said.len() < 2 {
            said.push(yielded.try_recv().expect("it was handed over"));
        }
        assert!(matches!(&said[0], Event::Revoked(partitions) if *partitions == [P, Partition(1), Partition(2)]));
        assert!(matches!(&said[1], Event::Assigned(partitions) if *partitions == [P, Partition(2)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_hangs_in_the_client_is_given_up() {
        #[cfg(feature = "operate")]
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        #[cfg(feature = "operate")]
        let _recorded = metrics::set_default_local_recorder(&recorder);
        show_lag(P, 9);
        let source = KafkaSource::new(Cluster::new("127.0.0.1:1"), "votes", "group");
        let (events, yielded) = tokio::sync::mpsc::channel(1);
        {
            let mut link = source.link.lock().await;
            link.events = Some(yielded);
            link.assigned.insert(P);
        }
        let generation = source.shared.next_generation(P);
        let long_ago = Instant::now().checked_sub(STALLED_AFTER).expect("the machine runs for longer");
        *lock(&source.shared.last_turn) = long_ago;
        assert_eq!(source.next().await.expect("the log is there"), SourceEvent::Revoked(vec![P]));
        assert!(events.is_closed() && !source.shared.is_current(P, generation), "what it has read is nothing any more");
        #[cfg(feature = "operate")]
        assert!(recorder.handle().render().contains("polling_partition_lag_records{partition=\"0\"} 0\n"));
    }

    #[test]
    fn a_reader_that_was_given_up_leaves_its_successor_alone() {
        let (mut reader, yielded, _silent) = reader();
        let revoke = |reader: &Reader| lock(&reader.consumer.context().rebalances).push_back(Rebalance::Revoked(vec![P]));
        let generation = reader.shared.next_generation(P);
        revoke(&reader);
        reader.follow_group();
        assert!(!reader.shared.is_current(P, generation), "what it has read is nothing any more");
        let successors = reader.shared.next_generation(P);
        drop(yielded);
        revoke(&reader);
        reader.follow_group();
        assert!(reader.shared.is_current(P, successors));
        assert!(!reader.hand_over(), "and it ends");
    }
}
