//! Something that is kept and is not what it should be.

use std::fmt;

use super::{KeptPartition, Recount};
use crate::checkpoint::Partition;
use crate::model::{OutcomeCounts, PollId, Totals};

/// Of what something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A poll.
    Poll(PollId),
    /// A partition of the log.
    Partition(Partition),
    /// All partitions together.
    AllPartitions,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(poll) => write!(formatter, "poll {poll}"),
            Self::Partition(partition) => write!(formatter, "partition {partition}"),
            Self::AllPartitions => formatter.write_str("all partitions"),
        }
    }
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Voters with a counted vote.
    Voters,
    /// Counted votes that choose the option with this number.
    Option(usize),
    /// How many options have a total.
    Options,
    /// Records that were applied.
    Records,
    /// Votes that stand and retractions that took effect and were followed by a vote: those counted without those superseded.
    Standing,
    /// A count of outcomes, by its name in [`OutcomeCounts`].
    Outcome(&'static str),
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Voters => formatter.write_str("voters"),
            Self::Option(number) => write!(formatter, "option {number}"),
            Self::Options => formatter.write_str("options"),
            Self::Records => formatter.write_str("records"),
            Self::Standing => formatter.write_str("standing"),
            Self::Outcome(name) => formatter.write_str(name),
        }
    }
}

/// What something was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The vote rows.
    Votes,
    /// The sum of the outcomes.
    Outcomes,
    /// The log.
    Log,
}

impl Evidence {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Votes => "votes",
            Self::Outcomes => "outcomes",
            Self::Log => "log",
        }
    }
}

/// Something that is kept and is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Of what it is kept.
    pub subject: Subject,
    /// What is kept.
    pub quantity: Quantity,
    /// As it is kept.
    pub kept: u64,
    /// As it was found. Where the log leaves room, the nearest that it allows.
    pub found: u64,
    /// Where it was found.
    pub evidence: Evidence,
}

impl Difference {
    /// When the two are not the same.
    pub(super) fn between(subject: Subject, quantity: Quantity, kept: u64, found: u64, evidence: Evidence) -> Option<Self> {
        (kept != found).then_some(Self { subject, quantity, kept, found, evidence })
    }
}

impl Recount {
    /// What is wrong with the totals that are kept.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let subject = Subject::Poll(self.poll);
        let (kept, options) = (self.kept.votes.len() as u64, self.options as u64);
        let mut differences = totals(self.poll, &self.kept, &self.found, Evidence::Votes);
        differences.extend(Difference::between(subject, Quantity::Options, kept, options, Evidence::Votes));
        differences
    }
}

/// Where the totals of a poll are not these.
pub(super) fn totals(poll: PollId, kept: &Totals, found: &Totals, evidence: Evidence) -> Vec<Difference> {
    let subject = Subject::Poll(poll);
    let of = |totals: &Totals, index: usize| totals.votes.get(index).copied().unwrap_or_default();
    let voters = Difference::between(subject, Quantity::Voters, kept.voters, found.voters, evidence);
    let options = (0..kept.votes.len().max(found.votes.len())).filter_map(|index| {
        Difference::between(subject, Quantity::Option(index + 1), of(kept, index), of(found, index), evidence)
    });
    voters.into_iter().chain(options).collect()
}

/// Every count of outcomes with its name.
pub(super) fn named(counts: &OutcomeCounts) -> [(&'static str, u64); 6] {
    [
        ("counted", counts.counted),
        ("superseded", counts.superseded),
        ("duplicate", counts.duplicate),
        ("late", counts.late),
        ("invalid", counts.invalid),
        ("repeated", counts.repeated),
    ]
}

impl KeptPartition {
    /// Whether the outcomes are those of all records.
    pub(super) fn difference(&self, partition: Partition) -> Option<Difference> {
        let read = self.next.get().unsigned_abs();
        Difference::between(Subject::Partition(partition), Quantity::Records, read, self.counts.total(), Evidence::Outcomes)
    }
}
