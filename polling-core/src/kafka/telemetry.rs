//! What a client says about itself: errors, and statistics as metrics.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::Reachability;
use super::refusal::Refusal;

/// Counts the errors of one client and shows its statistics as metrics, labelled with what the client is for, and knows whether it
/// reaches its brokers.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    client: &'static str,
    reachability: Reachability,
}

impl Telemetry {
    /// Of a client for `sink`, `source`, `bus`, ….
    pub(crate) fn new(client: &'static str) -> Self {
        Self::telling(client, Reachability::default())
    }

    /// Of one that others want to know about.
    pub(crate) const fn telling(client: &'static str, reachability: Reachability) -> Self {
        Self { client, reachability }
    }

    /// Why the brokers do not let the client in, if that is so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.reachability.refusal()
    }

    /// An error that librdkafka works around by itself: it is counted and said, and nothing needs to be done.
    pub(crate) fn note_error(&self, error: &KafkaError, reason: &str) {
        metrics::counter!("polling_kafka_errors_total", "client" => self.client).increment(1);
        self.reachability.note_error(error);
        self.note_refusal(Refusal::of_error(error, reason));
        let client = self.client;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) {
            // One broker is away, which librdkafka logs and works around, several times a second.
            tracing::debug!(client, error = error as &dyn std::error::Error, reason, "Kafka reports an error");
        } else {
            tracing::warn!(client, error = error as &dyn std::error::Error, reason, "Kafka reports an error");
        }
    }

    /// Passes on what librdkafka logs.
    pub(crate) fn note_line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.note_refusal(Refusal::of_text(line));
        let client = self.client;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", client, "{facility} {line}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", client, "{facility} {line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", client, "{facility} {line}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", client, "{facility} {line}"),
        }
    }

    fn note_refusal(&self, refusal: Option<Refusal>) {
        let Some(refusal) = refusal else { return };
        if self.reachability.note_refusal(refusal.clone()) {
            tracing::error!(client = self.client, reason = refusal.reason, "the brokers do not let this program in");
        }
    }

    /// Shows what librdkafka measured: how much waits to be sent, how far the brokers are, and what they answered too late.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float, and these numbers are far below its precision")]
    pub(crate) fn show(&self, statistics: &Statistics) {
        self.reachability.note(statistics);
        let client = self.client;
        metrics::gauge!("polling_kafka_queued_messages", "client" => client).set(statistics.msg_cnt as f64);
        metrics::gauge!("polling_kafka_queued_bytes", "client" => client).set(statistics.msg_size as f64);
        let brokers = || statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        metrics::gauge!("polling_kafka_brokers_up", "client" => client)
            .set(brokers().filter(|broker| broker.state == "UP").count() as f64);
        metrics::counter!("polling_kafka_request_timeouts_total", "client" => client)
            .absolute(brokers().map(|broker| broker.req_timeouts).sum());
        metrics::counter!("polling_kafka_retries_total", "client" => client)
            .absolute(brokers().map(|broker| broker.txretries).sum());
        // Of a producer: how many messages share a request, which is most of what a message costs it.
        for (name, topic) in &statistics.topics {
            if topic.batchcnt.cnt > 0 {
                metrics::gauge!("polling_kafka_messages_per_request", "client" => client, "topic" => name.clone())
                    .set(topic.batchcnt.avg as f64);
            }
        }
        for broker in brokers() {
            if let Some(times) = broker.rtt.as_ref().filter(|times| times.cnt > 0) {
                metrics::gauge!("polling_kafka_round_trip_p99_seconds", "client" => client, "broker" => broker.nodeid.to_string())
                    .set(times.p99 as f64 / 1e6);
            }
        }
    }
}

impl ClientContext for Telemetry {
    fn stats(&self, statistics: Statistics) {
        self.show(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note_error(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.note_line(level, facility, line);
    }
}

impl ConsumerContext for Telemetry {}
