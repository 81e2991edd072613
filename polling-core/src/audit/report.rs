//! What an audit has looked at, what it found, and what it could not look at.

use std::collections::BTreeMap;

use super::Difference;
use crate::checkpoint::{Offset, Partition};
use crate::model::PollId;

/// Differences that are kept one by one: more than a person reads. Beyond them they are only numbered.
const DIFFERENCES_MAX: usize = 10_000;

/// What was read of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// From which offset on the log has its records, of every partition of which a record was applied.
    pub retained_from: BTreeMap<Partition, Offset>,
    /// Records that were read.
    pub records: u64,
    /// Polls whose totals were compared.
    pub polls: u64,
}

/// What an audit has looked at, what it found, and what it could not look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Polls whose vote rows were added up.
    pub polls: u64,
    /// Counted votes among these rows.
    pub votes: u64,
    /// Partitions of which a record was applied.
    pub partitions: u64,
    /// Records that were applied, by the checkpoints.
    pub records: u64,
    /// The log, when it was read.
    pub log: Option<LogReport>,
    /// What is not as it should be; not more than some thousands.
    pub differences: Vec<Difference>,
    /// All of them.
    pub differences_total: u64,
    /// Polls that were asked for and do not exist.
    pub missing: Vec<PollId>,
    /// What could not be checked, and why, as sentences without their ends.
    pub unchecked: Vec<String>,
}

impl Report {
    /// Whether everything that was looked at is as it should be.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.differences_total == 0 && self.missing.is_empty()
    }

    /// Notes what is not as it should be.
    pub(super) fn add(&mut self, differences: impl IntoIterator<Item = Difference>) {
        for difference in differences {
            self.differences_total += 1;
            if self.differences.len() < DIFFERENCES_MAX {
                self.differences.push(difference);
            }
        }
    }
}
