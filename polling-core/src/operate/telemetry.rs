//! The metrics of a process.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

pub use metrics_exporter_prometheus::PrometheusHandle;

/// How often recorded durations are put into their buckets; until then each takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Bounds in seconds: from an answer out of memory to the longest wait that a request can ask for.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds in records: from one vote to the largest batch.
const RECORDS: &[f64] = &[1.0, 10.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// The process has one recorder of metrics, and this renders it. Several programs in one process, as in tests, share it.
static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// Starts recording metrics, unless that was done before. `version` is that of the program; `describe` tells what the metrics mean
/// that are the program's own.
///
/// # Errors
///
/// When somebody else's recorder is in place, which an embedder may want; as text, because it is found only once.
pub fn start(version: &'static str, describe: fn()) -> Result<PrometheusHandle, String> {
    HANDLE
        .get_or_init(|| {
            let handle = recorder().map_err(|error| error.to_string())?;
            describe_ours();
            describe();
            gauge!("polling_build_info", "version" => version).set(1.0);
            Ok(handle)
        })
        .clone()
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), RECORDS)?
        .install_recorder()
}

/// Keeps the recorded durations small. Never ends; dropping it stops it.
pub async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// The metrics of the library.
fn describe_ours() {
    describe_gauge!("polling_build_info", "1, labelled with the version");
    describe_counter!("polling_records_applied_total", Unit::Count, "records of the log that were counted or otherwise decided");
    describe_histogram!("polling_apply_seconds", Unit::Seconds, "one transaction of the counting loop");
    describe_histogram!("polling_batch_records", Unit::Count, "records of one transaction");
    describe_counter!("polling_store_troubles_total", Unit::Count, "transactions that failed");
    describe_counter!("polling_batches_fenced_total", Unit::Count, "batches given up because another loop counts them");
    describe_counter!("polling_dead_letters_total", Unit::Count, "records of the log that could not be read");
    describe_counter!("polling_partitions_stopped_total", Unit::Count, "partitions that stopped with an alarm");
    describe_counter!("polling_publications_failed_total", Unit::Count, "news that was not published");
    describe_counter!("polling_kafka_errors_total", Unit::Count, "errors that a client of Kafka works around, by client");
    describe_counter!("polling_kafka_unknown_votes_total", Unit::Count, "votes of which it is unknown whether Kafka has them");
    describe_counter!("polling_kafka_producers_replaced_total", Unit::Count, "producers that could not go on");
    describe_counter!("polling_kafka_consumers_replaced_total", Unit::Count, "consumers that were broken or stuck");
    describe_counter!("polling_kafka_request_timeouts_total", Unit::Count, "requests that no broker answered in time");
    describe_counter!("polling_kafka_retries_total", Unit::Count, "requests that were sent again");
    describe_gauge!("polling_kafka_queued_messages", Unit::Count, "records that wait to be sent or acknowledged");
    describe_gauge!("polling_kafka_queued_bytes", Unit::Bytes, "bytes of records that wait to be sent or acknowledged");
    describe_gauge!("polling_kafka_brokers_up", Unit::Count, "brokers with a connection");
    describe_gauge!(
        "polling_kafka_round_trip_p99_seconds",
        Unit::Seconds,
        "requests to a broker and back, the slowest of a hundred"
    );
    describe_gauge!(
        "polling_partition_backlog_age_seconds",
        Unit::Seconds,
        "how long the oldest record of a partition waits to be counted"
    );
    describe_gauge!(
        "polling_partition_retention_used_ratio",
        "what that is of the time, or of the bytes, for which the topic keeps records; at 1 they are lost"
    );
    describe_gauge!(
        "polling_topic_in_sync_replicas_min",
        Unit::Count,
        "replicas in sync of the partition of the topic of votes that has the fewest"
    );
    describe_gauge!(
        "polling_topic_under_replicated_partitions",
        Unit::Count,
        "partitions of the topic of votes with a replica that is not in sync"
    );
    describe_gauge!(
        "polling_topic_broken_rules",
        Unit::Count,
        "settings of the topic of votes that could lose acknowledged votes"
    );
    describe_gauge!("polling_topic_refused", "1 while no vote is put into the topic of votes, because it is gone or another one");
    describe_gauge!("polling_partition_lag_records", Unit::Count, "records of a partition that were not read yet");
}
