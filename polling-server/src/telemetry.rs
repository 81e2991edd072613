//! The metrics of the process.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use polling_core::operate::telemetry::{self, PrometheusHandle};

use crate::api::problem::FAILURES;
use crate::clock_watch::CLOCK_SKEW;
use crate::transport::requests::{REQUEST_SECONDS, REQUESTS};

/// Votes that wait in the log of this process.
pub const WAITING_VOTES: &str = "polling_log_waiting_votes";
/// Live sockets and streams of events that are open in this process.
pub const OPEN_SOCKETS: &str = "polling_open_sockets";
/// Polls that were read from the store.
pub const POLL_READS: &str = "polling_poll_reads_total";

/// Starts recording metrics, unless that was done before.
///
/// # Errors
///
/// When somebody else's recorder is in place, which an embedder may want; as text, because it is found only once.
pub fn start() -> Result<PrometheusHandle, String> {
    telemetry::start(env!("CARGO_PKG_VERSION"), describe)
}

fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "requests answered, by route, method and class of status");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "from the head of a request to the head of its answer");
    describe_counter!(FAILURES, Unit::Count, "requests and votes that failed and not by a fault of theirs, by problem");
    describe_counter!("polling_http_refused_total", Unit::Count, "what came on a connection and was not a request");
    describe_counter!("polling_http_accept_errors_total", Unit::Count, "connections that could not be accepted");
    describe_counter!("polling_large_refused_total", Unit::Count, "large answers and bodies that there was no room for");
    describe_counter!(
        "polling_rate_limited_total",
        Unit::Count,
        "requests and votes that were refused because there were too many"
    );
    describe_gauge!(CLOCK_SKEW, Unit::Seconds, "by how much the clock of this server is ahead of that of the store");
    describe_gauge!(OPEN_SOCKETS, Unit::Count, "live sockets and streams of events that are open");
    describe_gauge!(WAITING_VOTES, Unit::Count, "votes that wait in the log of this process");
    describe_counter!(POLL_READS, Unit::Count, "polls read from the store, because nothing fresh was at hand");
    describe_counter!("polling_news_lost_total", Unit::Count, "times that news came too fast and some was lost");
}
