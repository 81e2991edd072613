//! Where votes come out: the trait of the reading end of the log.

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;

use async_trait::async_trait;
use thiserror::Error;

use crate::checkpoint::{Batch, Offset, Partition, RecordDigest};
use crate::store::{Applied, StoreError};

/// What happened at the reading end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// These partitions are ours to read now. Nothing comes from them before [`VoteSource::start`] says where to begin.
    Assigned(Vec<Partition>),
    /// These partitions are not ours any more.
    Revoked(Vec<Partition>),
    /// Records to apply.
    Batch(Batch),
    /// A partition yields nothing more until a person decides: records are missing, or it is not the log that it was.
    Stopped {
        /// The partition.
        partition: Partition,
        /// What is wrong with it.
        alarm: String,
    },
    /// The log was closed and every record of it has been yielded.
    Closed,
}

/// What became of a batch that the store refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The records stand in the log: apply the same batch again later.
    Kept,
    /// The records existed nowhere else and their senders were told that they are not recorded: forget the batch.
    Returned,
}

/// Why the log could not be read just now. All are worth another try.
#[derive(Debug, Error)]
#[error("failed to read the vote log")]
pub struct SourceError(#[source] pub crate::store::Source);

/// Yields votes from the log.
///
/// # Delivery
///
/// At least once: every record from the starting offset on is yielded, without a hole, until it has been applied. What makes
/// the effect happen once is the store's checkpoint, never this trait.
///
/// # Ordering
///
/// Per partition in the order of offsets; between partitions none.
///
/// # Idempotence
///
/// [`start`](Self::start) may be called again at any time, and makes the partition continue from the offset given. A partition
/// that was not started may be assigned again and again.
///
/// # Errors
///
/// [`SourceError`] from [`next`](Self::next) takes nothing away: the next call yields what this one would have. From
/// [`start`](Self::start) it leaves open whether the partition was started: start it again. A log that will never be readable again by
/// itself is no error, but [`SourceEvent::Stopped`].
///
/// # Cancellation
///
/// A dropped [`next`](Self::next) loses nothing: the next call yields what the dropped one would have.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait VoteSource: Send + Sync {
    /// Waits for the next event. One caller at a time.
    async fn next(&self) -> Result<SourceEvent, SourceError>;

    /// Says where in an assigned partition to begin, and what the record before that is recognised by, where that is known: both come
    /// from the store's checkpoint. A log that keeps its records, and finds another one there, yields [`SourceEvent::Stopped`].
    ///
    /// It is called for several partitions at once, and while [`next`](Self::next) waits, which must not keep it waiting. From its first
    /// step on, nothing is yielded any more of what was read of the partition before.
    async fn start(&self, partition: Partition, next: Offset, last: Option<RecordDigest>) -> Result<(), SourceError>;

    /// The batch is in the store. `applied` tells the outcomes of its entries, and is `None` when the store had applied it before
    /// and only receipts can tell. Frees memory, and may tell a broker for its dashboards; nothing depends on it.
    async fn acknowledge(&self, batch: &Batch, applied: Option<&Applied>);

    /// The store certainly did not apply the batch. A log that keeps its records answers [`Refused::Kept`].
    async fn refuse(&self, batch: &Batch, error: &StoreError) -> Refused;
}
