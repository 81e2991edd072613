//! Whether a client reaches what it needs.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// What keeps a client from its brokers, if anything does, as far as it knows: it finds out within seconds. Cloning gives another
/// handle to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reachability(Arc<Mutex<Option<String>>>);

impl Reachability {
    /// The trouble; `None` when nothing is known against the brokers.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns from an error that librdkafka works around by itself.
    pub(crate) fn note_error(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.set(Some(NO_BROKER.to_owned()));
        }
    }

    /// Learns from what a client says about itself every few seconds.
    pub(crate) fn note(&self, statistics: &Statistics) {
        // The brokers of the URL count, too: they are connected before their numbers are known.
        let is_connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        let leaderless = statistics.topics.iter().flat_map(|(topic, told)| {
            // The partition -1 is librdkafka's own, for records that have none yet.
            let without = told.partitions.iter().filter(|(number, partition)| **number >= 0 && partition.leader < 0);
            without.map(move |(number, _)| format!("partition {number} of {topic:?} has no leader"))
        });
        let trouble = if is_connected { leaderless.min() } else { Some(NO_BROKER.to_owned()) };
        self.set(trouble);
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

const NO_BROKER: &str = "no broker is connected";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rdkafka::statistics::{Broker, Partition, Topic};

    use super::*;

    fn statistics(state: &str, leader: i32) -> Statistics {
        let broker = Broker { state: state.to_owned(), ..Broker::default() };
        let partition = |leader| Partition { leader, ..Partition::default() };
        let partitions = HashMap::from([(-1, partition(-1)), (0, partition(1)), (1, partition(leader))]);
        Statistics {
            brokers: HashMap::from([("b:9092/1".to_owned(), broker)]),
            topics: HashMap::from([("votes".to_owned(), Topic { partitions, ..Topic::default() })]),
            ..Statistics::default()
        }
    }

    #[test]
    fn trouble_is_no_broker_or_no_leader_and_passes() {
        let reachability = Reachability::default();
        reachability.note_error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        assert_eq!(reachability.trouble().as_deref(), Some("no broker is connected"));
        reachability.note(&statistics("UP", 2));
        assert_eq!(reachability.trouble(), None);
        reachability.note_error(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(reachability.trouble(), None, "one of several may be away");
        reachability.note(&statistics("UP", -1));
        assert_eq!(reachability.trouble().as_deref(), Some("partition 1 of \"votes\" has no leader"));
        reachability.note(&statistics("CONNECT", 2));
        assert_eq!(reachability.trouble().as_deref(), Some("no broker is connected"));
    }
}
