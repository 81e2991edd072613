//! What came back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use voting::answer::Again;

/// How the server answered a vote in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 202, and counted already.
    Counted,
    /// 202, and to be counted.
    Pending,
    /// 409: the voter had voted before.
    AlreadyVoted,
    /// Another refusal.
    Refused,
    /// Given up, and the server said each time that it was not recorded.
    NotRecorded,
    /// Given up, and it may have been recorded.
    Unknown,
}

/// The longest latency that is told apart.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// Latencies in microseconds.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are sound"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
    }

    pub(crate) fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(quantile))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Everything that is known about the answers so far.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// By place in the plan; `None`: not answered yet, and in the end: never sent.
    pub(crate) verdicts: Vec<Option<Verdict>>,
    /// From the moment a vote was due to its final answer.
    pub(crate) latencies: Latencies,
    /// From the moment a vote was due to its sending: what the client or too few connections add.
    pub(crate) delays: Latencies,
    pub(crate) again: BTreeMap<Again, u64>,
    /// Refusals by problem type.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Receipts to be looked up, with the vote's place in the plan.
    pub(crate) receipts: Vec<(usize, String)>,
    /// When the last vote had its final answer.
    pub(crate) last_final: Option<Instant>,
    /// When each first counted vote of the first poll was due, in the order of the answers.
    pub(crate) shown_soon: Vec<Instant>,
}

impl Score {
    pub(crate) fn new(votes: usize) -> Self {
        Self { verdicts: vec![None; votes], ..Self::default() }
    }

    pub(crate) fn count(&self, verdict: Option<Verdict>) -> usize {
        self.verdicts.iter().filter(|found| **found == verdict).count()
    }
}
