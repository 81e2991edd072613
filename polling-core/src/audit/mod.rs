//! Whether what is kept is what was voted: the totals against the vote rows, the counts beside the checkpoints against what was read,
//! and both against the log, as far as it still has its records.
//!
//! Everything is compared within one moment of the store, and the log with the checkpoint of that moment, so votes may come in
//! meanwhile. Nothing here writes but [`AuditStore::mend`].

mod difference;
mod log;
mod replay;
mod report;
mod rows;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use difference::{Difference, Evidence, Quantity, Subject};
pub use log::{LogAuditError, LogDemand, audit_log};
pub use report::{LogReport, Report};
pub use rows::audit_rows;

use crate::checkpoint::{Offset, Partition, RecordDigest};
use crate::model::{OutcomeCounts, Poll, PollId, Tally, Totals};
use crate::source::SourceError;
use crate::store::StoreError;

/// The totals of a poll as they are kept, and as its vote rows add up, of the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recount {
    /// The poll.
    pub poll: PollId,
    /// How many options it has.
    pub options: usize,
    /// What is kept; with as many options as there were numbers.
    pub kept: Totals,
    /// What the rows add up to; with more options than the poll has where rows name them.
    pub found: Totals,
}

/// How far a partition was applied, and how its records ended, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptPartition {
    /// The offset of the next record.
    pub next: Offset,
    /// What the record before it is recognised by, where that is known.
    pub last: Option<RecordDigest>,
    /// How the records before it ended.
    pub counts: OutcomeCounts,
}

/// What is kept beside the checkpoints, and what can be held against it without the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Every partition of which a record was applied.
    pub partitions: BTreeMap<Partition, KeptPartition>,
    /// Votes that stand and retractions that took effect and were followed by a vote, by the rows of all polls; `None`: not asked for.
    pub standing: Option<u64>,
}

/// A poll as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPoll {
    /// Its definition.
    pub poll: Poll,
    /// Whether it is archived.
    pub archived: bool,
    /// Its totals.
    pub kept: Totals,
}

/// Everything that a log can be held against, of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Every partition of which a record was applied.
    pub partitions: BTreeMap<Partition, KeptPartition>,
    /// The polls that were asked for.
    pub polls: BTreeMap<PollId, LedgerPoll>,
    /// Whether these are all polls.
    pub is_whole: bool,
}

/// What mending the totals of a poll did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// How it was.
    pub before: Recount,
    /// The totals from now on, with a new version; `None` when they were right and nothing was changed.
    pub tally: Option<Tally>,
}

/// A store that can be looked through by an auditor while it is in use.
///
/// # Delivery
///
/// Every answer is of one moment, at which every transaction had happened or had not. [`StoreError::Unavailable`] means that nothing was
/// changed.
///
/// # Ordering
///
/// Later answers are of later moments.
///
/// # Idempotence
///
/// Reading changes nothing. [`mend`](Self::mend) changes nothing where the totals are right.
///
/// # Cancellation
///
/// A dropped future ends what the store does for it. Of a dropped [`mend`](Self::mend), all has happened or nothing.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// At most `limit` polls, archived ones among them, in the order of creation after `after`.
    async fn polls(&self, after: Option<PollId>, limit: usize) -> Result<Vec<PollId>, StoreError>;

    /// Adds up the vote rows of a poll. `None`: there is no such poll.
    async fn recount(&self, poll: PollId) -> Result<Option<Recount>, StoreError>;

    /// What is kept beside the checkpoints; `with_rows`: and what all vote rows say about it, which takes a walk through them.
    async fn counters(&self, with_rows: bool) -> Result<Counters, StoreError>;

    /// What is kept of these polls, or of all when none is named.
    async fn ledger(&self, polls: &[PollId]) -> Result<Ledger, StoreError>;

    /// Makes the totals of a poll what its vote rows add up to, beside whoever counts. `None`: there is no such poll.
    async fn mend(&self, poll: PollId) -> Result<Option<Mended>, StoreError>;
}

/// The offsets that a partition has records for: from `first` up to, and without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset of the oldest record.
    pub first: Offset,
    /// The offset after the newest record.
    pub end: Offset,
}

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// A log that keeps its records, read beside those who count it and without their noticing.
///
/// # Delivery
///
/// A stream yields every record that the log has in its range, or ends with an error.
///
/// # Ordering
///
/// In the order of the offsets.
///
/// # Idempotence
///
/// Reading changes nothing, not even what a broker believes to have been read.
///
/// # Cancellation
///
/// A dropped stream stops reading.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait RetainedLog: Send + Sync {
    /// What the log has now.
    async fn extents(&self) -> Result<BTreeMap<Partition, Extent>, SourceError>;

    /// Reads a partition from `first` up to, and without, `end`, which the log must have reached, in pieces of a bounded size.
    fn read(&self, partition: Partition, first: Offset, end: Offset) -> BoxStream<'static, Result<Vec<Record>, SourceError>>;
}
