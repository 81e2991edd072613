//! What became of a vote.

use std::fmt;
use std::ops::AddAssign;

/// What became of an acknowledged vote. Every acknowledged vote has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// It is in the tally; of a retraction: it took effect.
    Counted = 1,
    /// Another vote of the same voter was counted before it, and the poll does not allow changing.
    Duplicate = 2,
    /// It was counted, and a later vote or retraction of the same voter took its place.
    Superseded = 3,
    /// It was accepted at or after the close of the poll.
    Late = 4,
    /// The poll cannot take it: no such poll, choices that it does not have, nothing to retract, or a record that cannot be read.
    Invalid = 5,
}

impl Outcome {
    /// The outcome that a store kept as this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Counted),
            2 => Some(Self::Duplicate),
            3 => Some(Self::Superseded),
            4 => Some(Self::Late),
            5 => Some(Self::Invalid),
            _ => None,
        }
    }

    /// The number under which a store keeps it. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Superseded => "superseded",
            Self::Late => "late",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How many records of a partition ended in which way when they were applied, kept by the store beside the checkpoint.
///
/// Invariant: [`total`](Self::total) is the number of records read from the partition, so an audit needs only the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Votes and retractions that took effect, whether or not they were superseded later.
    pub counted: u64,
    /// Of those in `counted`: how many a later record of this partition superseded.
    pub superseded: u64,
    /// See [`Outcome::Duplicate`].
    pub duplicate: u64,
    /// See [`Outcome::Late`].
    pub late: u64,
    /// See [`Outcome::Invalid`]; dead letters are among them.
    pub invalid: u64,
    /// Records with a vote id that the voter had used before: they have the outcome of the first.
    pub repeated: u64,
}

impl OutcomeCounts {
    /// The number of records behind these counts.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.counted + self.duplicate + self.late + self.invalid + self.repeated
    }
}

impl AddAssign for OutcomeCounts {
    fn add_assign(&mut self, other: Self) {
        self.counted += other.counted;
        self.superseded += other.superseded;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.invalid += other.invalid;
        self.repeated += other.repeated;
    }
}
