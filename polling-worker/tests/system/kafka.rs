//! What an operator asks brokers and tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use polling_core::checkpoint::{Offset, Partition};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// How far each partition of the topic is written. Blocks.
pub(crate) fn ends(brokers: &str, topic: &str) -> BTreeMap<Partition, Offset> {
    let consumer: BaseConsumer = config(brokers).create().expect("a client");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WAIT).expect("the brokers answer");
    let partitions = metadata.topics().first().expect("the topic").partitions();
    let end = |partition: i32| {
        let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER_WAIT).expect("the leader answers");
        (Partition(u32::try_from(partition).expect("a partition")), Offset::new(end).expect("an offset"))
    };
    partitions.iter().map(|partition| end(partition.id())).collect()
}

/// Removes topics, whichever of them there are.
pub(crate) async fn remove(brokers: &str, topics: &[&str]) {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create().expect("a client");
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let _absent = admin.delete_topics(topics, &options).await;
}

/// Makes a topic that one broker can lose.
pub(crate) async fn create_weak(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create().expect("a client");
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT)).operation_timeout(Some(ANSWER_WAIT));
    let topic = NewTopic::new(topic, 6, TopicReplication::Fixed(1)).set("min.insync.replicas", "1");
    let created = admin.create_topics([&topic], &options).await.expect("the brokers answer");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}
