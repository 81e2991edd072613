//! Brokers in this process, and votes to put into them.

use polling_core::conformance::fixture::{cast, poll};
use polling_core::kafka::Cluster;
use polling_core::model::Vote;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// Three brokers in this process that speak Kafka's protocol over loopback, and fail on request.
type Mock = MockCluster<'static, DefaultProducerContext>;

pub(crate) const TOPIC: &str = "votes";

/// Brokers with an empty topic of so many partitions.
pub(crate) fn mock(partitions: i32) -> (Mock, Cluster) {
    let mock = MockCluster::new(3).expect("brokers in this process");
    mock.create_topic(TOPIC, partitions, 3).expect("a topic");
    let cluster = Cluster::new(mock.bootstrap_servers());
    (mock, cluster)
}

pub(crate) fn with(cluster: Cluster, settings: &[(&str, &str)]) -> Cluster {
    settings.iter().fold(cluster, |cluster, (name, value)| cluster.with_setting(name, value).expect("a setting"))
}

/// Votes of so many voters, one each.
pub(crate) fn crowd(voters: u32) -> Vec<Vote> {
    let poll = poll(2, |_| {});
    (0..voters).map(|number| cast(&poll, number, number, &[1])).collect()
}
