//! What an operator asks brokers and tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use voting::{Failure, failure};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

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
    let wrong = |error: rdkafka::error::KafkaError| failure(format!("topics cannot be removed: {error}"));
    let admin: AdminClient<DefaultClientContext> = config(brokers).create().map_err(wrong)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    admin.delete_topics(topics, &options).await.map(drop).map_err(wrong)
}
