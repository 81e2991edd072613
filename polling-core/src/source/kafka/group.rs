//! What the group of the workers decides, and how it is answered.

use std::collections::VecDeque;
use std::sync::Mutex;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::lock;
use crate::checkpoint::Partition;
use crate::kafka::{Reachability, Telemetry};

/// What the group decided, as it comes in during a poll.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

/// Answers the group by hand. Assigned partitions are taken without being read: nobody knows yet where to begin, and whatever
/// offset the client would pick is wrong.
///
/// The protocol is the eager one, in which all partitions change hands at once. It has one state less than the cooperative one, and
/// costs a short pause of everybody when a worker comes or goes, since each begins again at its checkpoint.
pub(super) struct Group {
    telemetry: Telemetry,
    /// What the reader has not followed yet.
    pub(super) rebalances: Mutex<VecDeque<Rebalance>>,
}

impl Group {
    pub(super) fn new(reachability: Reachability) -> Self {
        Self { telemetry: Telemetry::telling("source", reachability), rebalances: Mutex::default() }
    }
}

impl ClientContext for Group {
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

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let elements = list.elements();
        let partitions = elements.iter().filter_map(|element| u32::try_from(element.partition()).ok()).map(Partition).collect();
        let (answered, rebalance) = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            (consumer.assign(&TopicPartitionList::new()), Rebalance::Assigned(partitions))
        } else {
            (consumer.unassign(), Rebalance::Revoked(partitions))
        };
        if let Err(error) = answered {
            self.telemetry.note_error(&error, "the group was not answered");
        }
        lock(&self.rebalances).push_back(rebalance);
    }
}
