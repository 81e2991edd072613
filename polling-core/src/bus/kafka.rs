//! An update bus over a topic in Kafka.
//!
//! Every subscriber reads all partitions from their end on, without a group, so each of any number of servers sees everything.
//! Publications of one process stay in order in one partition. What the broker did not take is admitted with the next publication.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as ClientOffset, TopicPartitionList};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::{BusError, Notice, Update, UpdateBus, wire};
use crate::checkpoint::Partition;
use crate::kafka::{Cluster, Telemetry, View};

/// Publications that a slow subscriber may be behind before it loses some: some seconds of batches.
const PUBLICATIONS_KEPT: usize = 1024;
/// Updates in one record, at most: with a hundred options each it stays below what a broker takes.
const RECORD_UPDATES_MAX: usize = 512;
/// How long a poll waits, and so how late the reading ends when nobody listens any more.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How often the number of partitions is asked for: what is published into one that was added is lost for so long.
const LAYOUT_INTERVAL: Duration = Duration::from_secs(10);
/// How long that may keep the reading waiting.
const LAYOUT_WAIT: Duration = Duration::from_secs(1);
/// How long closing waits for publications that are on their way.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

const PRODUCER_DEFAULTS: [(&str, &str); 4] = [
    ("linger.ms", "2"),
    // Servers read what they show from the store every few seconds: news that is later than that is none.
    ("message.timeout.ms", "5000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("compression.type", "lz4"),
];
/// One request at a time keeps the order. A record that only its leader had could be lost with it, and its offset used again: no hole would
/// show. To wait for the others makes nothing later, because subscribers see a record when all replicas in sync have it.
const PRODUCER_FIXED: [(&str, &str); 4] =
    [("acks", "all"), ("max.in.flight", "1"), ("partitioner", "murmur2_random"), ("queue.buffering.max.messages", "262144")];
const CONSUMER_DEFAULTS: [(&str, &str); 3] =
    [("fetch.wait.max.ms", "100"), ("queued.min.messages", "1000"), ("queued.max.messages.kbytes", "16384")];
const CONSUMER_FIXED: [(&str, &str); 5] = [
    // Needed by the client to read at all. Nobody joins it: every subscriber reads everything.
    ("group.id", "polling-bus"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "latest"),
    ("allow.auto.create.topics", "false"),
];

/// Remembers that a publication did not arrive.
struct Losses {
    telemetry: Telemetry,
    lost: Arc<AtomicBool>,
}

impl ClientContext for Losses {
    fn stats(&self, statistics: Statistics) {
        self.telemetry.show(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.telemetry.note_error(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.telemetry.note_line(level, facility, line);
    }
}

impl ProducerContext for Losses {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.lost.store(true, Ordering::Release);
        }
    }
}

/// Carries updates over Kafka.
pub struct KafkaBus {
    cluster: Cluster,
    topic: String,
    producer: Arc<ThreadedProducer<Losses>>,
    lost: Arc<AtomicBool>,
    headers: OwnedHeaders,
    /// Names this process, so that all its publications go to one partition.
    publisher: Uuid,
    feed: Arc<Mutex<Option<broadcast::Sender<Notice>>>>,
    /// Held while a consumer is made, so that there is one.
    opening: tokio::sync::Mutex<()>,
}

impl KafkaBus {
    /// A bus over a topic, which must exist; [`ensure_topic`](crate::kafka::ensure_topic) sees to that.
    ///
    /// # Errors
    ///
    /// When the client cannot be made: a bad setting, or no thread.
    pub fn open(cluster: Cluster, topic: impl Into<String>) -> Result<Self, crate::store::Source> {
        let lost = Arc::new(AtomicBool::new(false));
        let context = Losses { telemetry: Telemetry::new("bus"), lost: Arc::clone(&lost) };
        let producer = cluster.config(&PRODUCER_DEFAULTS, &PRODUCER_FIXED).create_with_context(context)?;
        Ok(Self {
            cluster,
            topic: topic.into(),
            producer: Arc::new(producer),
            lost,
            headers: OwnedHeaders::new().insert(Header { key: "type", value: Some(wire::MESSAGE_NAME) }),
            publisher: Uuid::new_v4(),
            feed: Arc::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// Waits, at most a second, until the broker has what was published.
    ///
    /// Dropping the future changes nothing.
    pub async fn flush(&self) {
        let producer = Arc::clone(&self.producer);
        let flushed = tokio::task::spawn_blocking(move || producer.flush(CLOSE_WAIT)).await;
        if let Ok(Err(error)) = flushed {
            tracing::debug!(error = &error as &dyn std::error::Error, "updates are left behind");
        }
    }

    fn send(&self, lost: bool, updates: &[Update]) -> Result<(), KafkaError> {
        let bytes = wire::encode(lost, updates);
        let record = BaseRecord::to(&self.topic).key(self.publisher.as_bytes()).payload(&bytes).headers(self.headers.clone());
        self.producer.send(record).map_err(|(error, _record)| error)
    }
}

#[async_trait]
impl UpdateBus for KafkaBus {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        for part in updates.chunks(RECORD_UPDATES_MAX) {
            let lost = self.lost.swap(false, Ordering::AcqRel);
            if let Err(error) = self.send(lost, part) {
                self.lost.store(true, Ordering::Release);
                return Err(BusError(error.into()));
            }
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        let _one_at_a_time = self.opening.lock().await;
        let current = lock(&self.feed).as_ref().map(broadcast::Sender::subscribe);
        let receiver = match current {
            Some(receiver) => receiver,
            None => {
                let (cluster, topic) = (self.cluster.clone(), self.topic.clone());
                let opened = tokio::task::spawn_blocking(move || Follower::at_the_end(&cluster, &topic)).await;
                let follower = opened.map_err(|error| BusError(error.into()))?.map_err(|error| BusError(error.into()))?;
                let (sender, receiver) = broadcast::channel(PUBLICATIONS_KEPT);
                *lock(&self.feed) = Some(sender.clone());
                let feed = Arc::clone(&self.feed);
                let work = move || follower.follow(&sender, &feed);
                if let Err(error) = thread::Builder::new().name("kafka-bus".to_owned()).spawn(work) {
                    *lock(&self.feed) = None;
                    return Err(BusError(error.into()));
                }
                receiver
            }
        };
        let notices = stream::unfold(receiver, |mut receiver| async {
            let notice = match receiver.recv().await {
                Ok(notice) => notice,
                Err(RecvError::Lagged(_)) => Notice::Lagged,
                Err(RecvError::Closed) => return None,
            };
            Some((notice, receiver))
        });
        Ok(notices.boxed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads all partitions of the topic.
struct Follower {
    consumer: BaseConsumer<Telemetry>,
    topic: String,
    /// The offset that comes next, for each partition.
    next: BTreeMap<i32, i64>,
    layout_seen: Instant,
}

impl Follower {
    /// Stands at the end that the partitions have now: whatever is published after this call is read. Blocks.
    fn at_the_end(cluster: &Cluster, topic: &str) -> Result<Self, KafkaError> {
        let view = View::open(cluster, topic, "bus-view")?;
        let layout = view.layout()?.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))?;
        let consumer: BaseConsumer<Telemetry> =
            cluster.config(&CONSUMER_DEFAULTS, &CONSUMER_FIXED).create_with_context(Telemetry::new("bus-reader"))?;
        let mut list = TopicPartitionList::new();
        let mut next = BTreeMap::new();
        for partition in 0..u32::try_from(layout.partitions).unwrap_or(0) {
            let end = view.extent(Partition(partition))?.end.get();
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            list.add_partition_offset(topic, number, ClientOffset::Offset(end))?;
            next.insert(number, end);
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, topic: topic.to_owned(), next, layout_seen: Instant::now() })
    }

    /// Whether the topic has got partitions that are not read.
    fn has_more_partitions(&mut self) -> bool {
        if self.layout_seen.elapsed() < LAYOUT_INTERVAL {
            return false;
        }
        self.layout_seen = Instant::now();
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), LAYOUT_WAIT);
        metadata.is_ok_and(|metadata| metadata.topics().iter().any(|topic| topic.partitions().len() > self.next.len()))
    }

    /// Passes on what comes until nobody listens, or until this is not all that there is: then every stream ends, and whoever
    /// subscribes again gets all of it.
    fn follow(mut self, sender: &broadcast::Sender<Notice>, feed: &Mutex<Option<broadcast::Sender<Notice>>>) {
        loop {
            let notices = match self.consumer.poll(POLL_WAIT) {
                Some(Ok(message)) => {
                    let place = (message.partition(), message.offset());
                    let bytes = message.payload().unwrap_or_default();
                    read(&mut self.next, place, bytes)
                }
                // What was published meanwhile comes afterwards. Until then the store knows more than the bus.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown))) => [Some(Notice::Lagged), None],
                Some(Err(_)) | None => [None, None],
            };
            for notice in notices.into_iter().flatten() {
                // The only error is that nobody listens, and that is looked at below.
                let _nobody_listens = sender.send(notice);
            }
            if self.has_more_partitions() {
                *lock(feed) = None;
                return;
            }
            if sender.receiver_count() == 0 {
                let mut feed = lock(feed);
                // Looked at again: a subscriber may have come before the lock.
                if sender.receiver_count() == 0 {
                    *feed = None;
                    return;
                }
            }
        }
    }
}

/// What a record says to a subscriber: a loss before it, when there was one, and its updates.
fn read(next: &mut BTreeMap<i32, i64>, (partition, offset): (i32, i64), bytes: &[u8]) -> [Option<Notice>; 2] {
    // Cleaned up before it was read, or another topic under the old name.
    let is_gap = next.insert(partition, offset + 1) != Some(offset);
    match wire::decode(bytes) {
        Some(publication) => {
            let lagged = (is_gap || publication.lost).then_some(Notice::Lagged);
            let updates = (!publication.updates.is_empty()).then(|| Notice::Updates(publication.updates.into()));
            [lagged, updates]
        }
        None => [Some(Notice::Lagged), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Offset;

    fn updates() -> Vec<Update> {
        vec![Update::Progress { partition: Partition(0), next: Offset::ZERO }]
    }

    fn said(next: i64, offset: i64, bytes: &[u8]) -> Vec<Notice> {
        let mut next = BTreeMap::from([(0, next)]);
        let notices = read(&mut next, (0, offset), bytes);
        assert_eq!(next[&0], offset + 1);
        notices.into_iter().flatten().collect()
    }

    #[test]
    fn a_hole_a_loss_and_what_cannot_be_read_are_lags() {
        let news = Notice::Updates(updates().into());
        let (sound, lost) = (wire::encode(false, &updates()), wire::encode(true, &updates()));
        assert_eq!(said(5, 5, &sound), std::slice::from_ref(&news));
        assert_eq!(said(5, 7, &sound), [Notice::Lagged, news.clone()]);
        assert_eq!(said(5, 2, &sound), [Notice::Lagged, news.clone()]);
        assert_eq!(said(5, 5, &lost), [Notice::Lagged, news]);
        assert_eq!(said(5, 5, b"rubbish"), [Notice::Lagged]);
    }
}
