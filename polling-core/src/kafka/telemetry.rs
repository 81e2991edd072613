//! What a client says about itself: errors, and statistics as metrics.

use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Counts the errors of one client and shows its statistics as metrics, labelled with what the client is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telemetry {
    /// `sink`, `source`, `bus`, ….
    pub(crate) client: &'static str,
}

impl Telemetry {
    /// An error that librdkafka works around by itself: it is counted and said, and nothing needs to be done.
    pub(crate) fn note_error(self, error: &KafkaError, reason: &str) {
        metrics::counter!("polling_kafka_errors_total", "client" => self.client).increment(1);
        let client = self.client;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) {
            // One broker is away, which librdkafka logs and works around, several times a second.
            tracing::debug!(client, error = error as &dyn std::error::Error, reason, "Kafka reports an error");
        } else {
            tracing::warn!(client, error = error as &dyn std::error::Error, reason, "Kafka reports an error");
        }
    }

    /// Shows what librdkafka measured: how much waits to be sent, how far the brokers are, and what they answered too late.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float, and these numbers are far below its precision")]
    pub(crate) fn show(self, statistics: &Statistics) {
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
}

impl ConsumerContext for Telemetry {}
