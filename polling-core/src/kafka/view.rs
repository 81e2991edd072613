//! A client that only looks: one for a log, as long as the log is open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset as ClientOffset, TopicPartitionList};

use super::native;
use super::refusal::Refusal;
use super::{Cluster, Telemetry};
use crate::checkpoint::{Offset, Partition};

/// How long one question to the brokers may take: longer than a leader needs to move.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long the question for the identity of a topic may take. Brokers that cannot answer it let it lapse.
const IDENTITY_WAIT: Duration = Duration::from_secs(3);
/// Events of the client that are served with each question: it asks rarely and has little to say.
const EVENTS_PER_QUESTION: usize = 64;

/// What the client needs to read at all. Nobody joins it.
const GROUP: &str = "polling-watch";
const FIXED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
];

/// What the brokers say about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) partitions: usize,
    /// The number of replicas that the partition with the fewest has.
    pub(crate) replication: usize,
    /// The number of replicas in sync that the partition with the fewest has.
    pub(crate) in_sync: usize,
    /// Partitions with a replica that is not in sync.
    pub(crate) under_replicated: usize,
}

/// The offsets that a partition has records for: from `first` up to, and without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: Offset,
    pub(crate) end: Offset,
}

/// A record that is looked at by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Milliseconds since the epoch when it was appended; `None` where the topic does not tell.
    pub(crate) appended_at_ms: Option<i64>,
    /// What it takes in the log, at most: as if it were alone in its batch.
    pub(crate) bytes: u64,
}

/// What a record in a batch of its own takes beside its key and value: <https://kafka.apache.org/documentation/#recordbatch>.
const BYTES_BESIDE: u64 = 61 + 16;
/// How long a record that is looked at by itself may take to come.
const RECORD_WAIT: Duration = Duration::from_secs(5);
/// How long one poll for it waits.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Looks at a topic without being in a group. Every method blocks.
pub(crate) struct View {
    consumer: BaseConsumer<Telemetry>,
    config: ClientConfig,
    topic: String,
}

impl View {
    pub(crate) fn open(cluster: &Cluster, topic: &str, client: &'static str) -> Result<Self, KafkaError> {
        let config = cluster.config(&[], &FIXED);
        Ok(Self { consumer: config.create_with_context(Telemetry::new(client))?, config, topic: topic.to_owned() })
    }

    /// Whether what the leader of the partition has at this offset fails its checksum. One that does not come is not known to.
    pub(crate) fn is_damaged(&self, partition: Partition, offset: Offset) -> Result<bool, KafkaError> {
        // One of its own: with it comes nothing but this record.
        let mut config = self.config.clone();
        let consumer: BaseConsumer<Telemetry> = config.set("group.id", GROUP).create_with_context(Telemetry::new("watch"))?;
        let mut list = TopicPartitionList::new();
        let number = i32::try_from(partition.0).unwrap_or(i32::MAX);
        list.add_partition_offset(&self.topic, number, ClientOffset::Offset(offset.get()))?;
        consumer.assign(&list)?;
        let began = Instant::now();
        while began.elapsed() < RECORD_WAIT {
            match consumer.poll(POLL_WAIT) {
                Some(Ok(_)) => return Ok(false),
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BadMessage))) => return Ok(true),
                Some(Err(_)) | None => {}
            }
        }
        Ok(false)
    }

    /// The first record at or behind each of these places, of the partitions that answer in time.
    pub(crate) fn heads(&self, places: &BTreeMap<Partition, Offset>) -> Result<BTreeMap<Partition, Head>, KafkaError> {
        let mut heads = BTreeMap::new();
        if places.is_empty() {
            return Ok(heads);
        }
        // One of its own, which reads no more than it must: what comes with it is of no use.
        let mut config = self.config.clone();
        config.set("group.id", GROUP).set("queued.min.messages", "1");
        let consumer: BaseConsumer<Telemetry> = config.create_with_context(Telemetry::new("watch"))?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            let number = i32::try_from(partition.0).unwrap_or(i32::MAX);
            list.add_partition_offset(&self.topic, number, ClientOffset::Offset(offset.get()))?;
        }
        consumer.assign(&list)?;
        let began = Instant::now();
        while heads.len() < places.len() && began.elapsed() < RECORD_WAIT {
            let Some(Ok(message)) = consumer.poll(POLL_WAIT) else { continue };
            let Ok(partition) = u32::try_from(message.partition()) else { continue };
            let length = message.payload_len() + message.key_len();
            heads
                .entry(Partition(partition))
                .or_insert_with(|| Head { appended_at_ms: message.timestamp().to_millis(), bytes: length as u64 + BYTES_BESIDE });
        }
        Ok(heads)
    }

    /// `None` when there is no such topic.
    pub(crate) fn layout(&self) -> Result<Option<Layout>, KafkaError> {
        self.serve_events();
        // Asked for by its name, a missing topic would be an error that looks like a missing leader.
        let metadata = self.consumer.fetch_metadata(None, ANSWER_WAIT)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic && !topic.partitions().is_empty());
        Ok(found.map(|topic| {
            let partitions = || topic.partitions().iter();
            Layout {
                partitions: topic.partitions().len(),
                replication: partitions().map(|partition| partition.replicas().len()).min().unwrap_or(0),
                in_sync: partitions().map(|partition| partition.isr().len()).min().unwrap_or(0),
                under_replicated: partitions().filter(|partition| partition.isr().len() < partition.replicas().len()).count(),
            }
        }))
    }

    /// The number of brokers that are up.
    pub(crate) fn brokers(&self) -> Result<usize, KafkaError> {
        Ok(self.consumer.fetch_metadata(None, ANSWER_WAIT)?.brokers().len())
    }

    /// Which records a partition has now.
    pub(crate) fn extent(&self, partition: Partition) -> Result<Extent, KafkaError> {
        self.extent_within(partition, ANSWER_WAIT)
    }

    /// The same, when it is answered in that time.
    pub(crate) fn extent_within(&self, partition: Partition, wait: Duration) -> Result<Extent, KafkaError> {
        self.serve_events();
        let number = i32::try_from(partition.0).unwrap_or(i32::MAX);
        let (low, high) = self.consumer.fetch_watermarks(&self.topic, number, wait)?;
        Ok(Extent { first: Offset::new(low).unwrap_or_default(), end: Offset::new(high).unwrap_or_default() })
    }

    /// Why the brokers do not let the client in, if that is so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.serve_events();
        self.consumer.client().context().refusal()
    }

    /// The identity of the topic behind the name; `None` when the brokers do not tell.
    pub(crate) fn topic_id(&self) -> Option<u128> {
        self.serve_events();
        native::topic_id(self.consumer.client(), &self.topic, IDENTITY_WAIT)
    }

    /// Log lines and errors of the client wait in a queue until they are taken.
    fn serve_events(&self) {
        for _ in 0..EVENTS_PER_QUESTION {
            // It yields nothing for most events as well as for none.
            let _no_record = self.consumer.poll(Duration::ZERO);
        }
    }
}
