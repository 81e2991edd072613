//! What an operator asks brokers and tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use voting::{Failure, failure};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// As large as a broker takes a record, which is a mebibyte with all that stands around it.
const RECORD_BYTES_MAX: &str = "1048588";

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// How far each partition of the topic is written.
pub(crate) async fn ends(brokers: &str, topic: &str) -> Result<BTreeMap<u32, i64>, Failure> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config(&brokers).create()?;
        let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_WAIT)?;
        let mut ends = BTreeMap::new();
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            let (_, end) = consumer.fetch_watermarks(&topic, partition.id(), ANSWER_WAIT)?;
            ends.insert(partition.id().unsigned_abs(), end);
        }
        Ok::<_, rdkafka::error::KafkaError>(ends)
    });
    let ends = asked.await.map_err(|error| failure(format!("asking the brokers ended: {error}")))?;
    ends.map_err(|error| failure(format!("the brokers do not say how far the log is written: {error}")))
}

/// Removes topics, whichever of them there are.
pub(crate) async fn remove(brokers: &str, topics: &[&str]) -> Result<(), Failure> {
    let wrong = |error: KafkaError| failure(format!("topics cannot be removed: {error}"));
    admin(brokers).map_err(wrong)?.delete_topics(topics, &options()).await.map(drop).map_err(wrong)
}

/// Deletes the records before an offset, as retention does.
pub(crate) async fn delete_records(brokers: &str, topic: &str, partition: u32, before: i64) -> Result<(), Failure> {
    let wrong = |error: KafkaError| failure(format!("records cannot be deleted: {error}"));
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, number(partition), Offset::Offset(before)).map_err(wrong)?;
    let deleted = admin(brokers).map_err(wrong)?.delete_records(&offsets, &options()).await.map_err(wrong)?;
    deleted.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error).map_err(wrong)
}

/// Lets one broker alone acknowledge, and one lead that has not everything.
pub(crate) async fn weaken(brokers: &str, topic: &str) -> Result<(), Failure> {
    let wrong = |error: KafkaError| failure(format!("the topic cannot be changed: {error}"));
    let weak = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let weak = weak.set("min.insync.replicas", "1").set("unclean.leader.election.enable", "true");
    let altered = admin(brokers).map_err(wrong)?.alter_configs([&weak], &options()).await.map_err(wrong)?;
    match altered.into_iter().find_map(Result::err) {
        Some((_, code)) => Err(failure(format!("the topic cannot be changed: {code}"))),
        None => Ok(()),
    }
}

/// Writes a record that may be anything; answers its offset.
pub(crate) async fn write(brokers: &str, topic: &str, partition: u32, bytes: &[u8]) -> Result<i64, Failure> {
    let wrong = |error: KafkaError| failure(format!("a record cannot be written: {error}"));
    let producer: FutureProducer = config(brokers).set("message.max.bytes", RECORD_BYTES_MAX).create().map_err(wrong)?;
    let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(topic).partition(number(partition)).payload(bytes);
    let written = producer.send(record, ANSWER_WAIT).await.map_err(|(error, _)| wrong(error))?;
    Ok(written.offset)
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    config(brokers).create()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WAIT))
}

fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
