//! Whether a client reaches what it needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::refusal::Refusal;

/// What keeps a client from its brokers, if anything does, as far as it knows: it finds out within seconds. Cloning gives another
/// handle to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reachability(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    is_cut_off: bool,
    leaderless: Option<String>,
    /// What the brokers said to a client that they do not let in, since it was last connected.
    refusal: Option<Refusal>,
}

impl Reachability {
    /// The trouble; `None` when nothing is known against the brokers.
    pub(crate) fn trouble(&self) -> Option<String> {
        let known = self.known();
        if !known.is_cut_off {
            return known.leaderless.clone();
        }
        let refused = |refusal: &Refusal| format!("the brokers do not let this program in: {}", refusal.reason);
        Some(known.refusal.as_ref().map_or_else(|| NO_BROKER.to_owned(), refused))
    }

    /// Why the brokers do not let the client in, if that is so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.known().refusal.clone()
    }

    /// Learns from an error that librdkafka works around by itself.
    pub(crate) fn note_error(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.known().is_cut_off = true;
        }
    }

    /// Learns from what the brokers said. What one of them has answered is not forgotten over a hint; whether that is news.
    pub(crate) fn note_refusal(&self, refusal: Refusal) -> bool {
        let mut known = self.known();
        let is_known = known.refusal.as_ref().is_some_and(|known| known.is_lasting || !refusal.is_lasting);
        if !is_known {
            known.refusal = Some(refusal);
        }
        !is_known
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
        let mut known = self.known();
        known.is_cut_off = !is_connected;
        known.leaderless = leaderless.min();
        known.refusal = known.refusal.take().filter(|_| !is_connected);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_client_that_is_not_let_in_says_why_until_it_is() {
        let reachability = Reachability::default();
        reachability.note(&statistics("CONNECT", -1));
        let error = KafkaError::Global(RDKafkaErrorCode::Authentication);
        let refusal = Refusal::of_error(&error, "SASL authentication error: wrong").expect("it is one");
        assert!(reachability.note_refusal(refusal.clone()) && !reachability.note_refusal(refusal));
        let hint = Refusal::of_text("verify that security.protocol is right").expect("it is one");
        assert!(!reachability.note_refusal(hint), "it says less");
        let trouble = reachability.trouble().expect("there is some");
        assert!(trouble.starts_with("the brokers do not let this program in: SASL authentication error: wrong"), "{trouble}");
        assert!(trouble.contains("POLLING_LOG") && trouble.contains("librdkafka.sasl.password"), "{trouble}");
        reachability.note(&statistics("UP", 2));
        assert_eq!(reachability.trouble(), None);
        reachability.note(&statistics("DOWN", 2));
        assert_eq!(reachability.trouble().as_deref(), Some("no broker is connected"));
    }
}
