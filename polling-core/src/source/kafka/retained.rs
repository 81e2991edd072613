//! A log in Kafka as an auditor reads it: in no group, and without telling the brokers how far.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as ClientOffset, TopicPartitionList};
use tokio::sync::mpsc;

use super::SourceError;
use crate::audit::{Extent, Record, RetainedLog};
use crate::checkpoint::{Offset, Partition};
use crate::kafka::{Cluster, Telemetry, View};

/// Records of one piece.
const PIECE_RECORDS: usize = 1_000;
/// Pieces that wait for whoever reads.
const PIECES_WAITING: usize = 4;
/// How long one look for a record waits. Somebody who has gone away is noticed after this time.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long nothing may come: longer than a partition needs to find another leader.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const FIXED: [(&str, &str); 8] = [
    // Needed by the client to read at all; nobody joins it.
    ("group.id", "polling-audit"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
    // Some megabytes ahead are enough for one reader of one partition.
    ("queued.min.messages", "5000"),
    ("queued.max.messages.kbytes", "8192"),
];

/// The records that a topic of votes still has.
pub struct KafkaRetainedLog {
    cluster: Cluster,
    topic: String,
}

impl KafkaRetainedLog {
    /// The records of this topic. Nothing is opened yet.
    #[must_use]
    pub fn new(cluster: Cluster, topic: impl Into<String>) -> Self {
        Self { cluster, topic: topic.into() }
    }
}

#[async_trait]
impl RetainedLog for KafkaRetainedLog {
    async fn extents(&self) -> Result<BTreeMap<Partition, Extent>, SourceError> {
        let (cluster, topic) = (self.cluster.clone(), self.topic.clone());
        let asked = tokio::task::spawn_blocking(move || extents(&cluster, &topic));
        asked.await.map_err(|error| SourceError(error.into()))?
    }

    fn read(&self, partition: Partition, first: Offset, end: Offset) -> BoxStream<'static, Result<Vec<Record>, SourceError>> {
        let (pieces, received) = mpsc::channel(PIECES_WAITING);
        let (cluster, topic, failed) = (self.cluster.clone(), self.topic.clone(), pieces.clone());
        let work = move || {
            if let Err(error) = read(&cluster, &topic, partition, first, end, &pieces) {
                // Nobody waits for it any more.
                let _gone = pieces.blocking_send(Err(error));
            }
        };
        if let Err(error) = thread::Builder::new().name("kafka-audit".to_owned()).spawn(work) {
            // There is room for it: nothing was sent yet.
            let _full = failed.try_send(Err(SourceError(error.into())));
        }
        drop(failed);
        stream::unfold(received, |mut received| async move { Some((received.recv().await?, received)) }).boxed()
    }
}

fn failed(error: KafkaError) -> SourceError {
    SourceError(error.into())
}

fn extents(cluster: &Cluster, topic: &str) -> Result<BTreeMap<Partition, Extent>, SourceError> {
    let view = View::open(cluster, topic, "audit").map_err(failed)?;
    let layout = view.layout().map_err(failed)?.ok_or_else(|| SourceError(format!("there is no topic {topic:?}").into()))?;
    let partitions = (0..).map(Partition).take(layout.partitions);
    let extent = |partition| {
        let extent = view.extent(partition).map_err(failed)?;
        Ok((partition, Extent { first: extent.first, end: extent.end }))
    };
    partitions.map(extent).collect()
}

/// Reads until the end of the range, or until nobody takes what comes.
fn read(
    cluster: &Cluster,
    topic: &str,
    partition: Partition,
    first: Offset,
    end: Offset,
    pieces: &mpsc::Sender<Result<Vec<Record>, SourceError>>,
) -> Result<(), SourceError> {
    // One of its own for each partition: nothing of another one is under way in it.
    let consumer: BaseConsumer<Telemetry> =
        cluster.config(&[], &FIXED).create_with_context(Telemetry::new("audit")).map_err(failed)?;
    let number = i32::try_from(partition.0).unwrap_or(i32::MAX);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, number, ClientOffset::Offset(first.get())).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let mut piece = Vec::new();
    let (mut next, mut last_record, mut trouble) = (first, Instant::now(), None);
    while next < end && !pieces.is_closed() {
        match consumer.poll(POLL_WAIT) {
            Some(Ok(message)) => {
                let Some(offset) = Offset::new(message.offset()).filter(|offset| *offset < end) else { break };
                piece.push(Record { offset, bytes: message.payload().unwrap_or_default().to_vec() });
                (next, last_record, trouble) = (offset.plus(1), Instant::now(), None);
            }
            Some(Err(error)) if is_final(&error) => return Err(failed(error)),
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
        let is_due = piece.len() >= PIECE_RECORDS || next >= end;
        if is_due && pieces.blocking_send(Ok(std::mem::take(&mut piece))).is_err() {
            return Ok(());
        }
        if last_record.elapsed() > SILENCE_MAX {
            let silence = || format!("partition {partition} has brought nothing since offset {next}").into();
            return Err(trouble.map_or_else(|| SourceError(silence()), failed));
        }
    }
    if !piece.is_empty() {
        // Nobody waits for it any more.
        let _gone = pieces.blocking_send(Ok(piece));
    }
    Ok(())
}

/// Whether waiting does not help: the records have been dropped, or one of them is damaged.
const fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let KafkaError::MessageConsumption(code) = error else { return false };
    matches!(
        code,
        Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::BadMessage
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::TopicAuthorizationFailed
    )
}
