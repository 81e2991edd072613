//! Where in the log things stand: partitions, offsets, batches without holes, and the checkpoint.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::Vote;

/// A partition of the vote log. A log without partitions has only number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The place of a record in its partition, counted from 0 without holes. At most `i64::MAX`, as in Kafka and in SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The first place.
    pub const ZERO: Self = Self(0);

    /// Takes a number as logs and stores have it; `None` when it is negative.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self)
    }

    /// The number as logs and stores have it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0.cast_signed()
    }

    /// The place `records` further on, at most the last that can be named.
    #[must_use]
    pub fn plus(self, records: usize) -> Self {
        Self(self.0.saturating_add(records as u64).min(i64::MAX.unsigned_abs()))
    }

    /// How many records lie between `start` and this place; `None` when `start` is behind it.
    #[must_use]
    pub const fn since(self, start: Self) -> Option<u64> {
        self.0.checked_sub(start.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The place in it.
    pub offset: Offset,
}

/// A record of the log as the source hands it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A vote.
    Vote(Vote),
    /// A record that cannot be read. The store keeps it aside, in the transaction that moves the checkpoint past it.
    DeadLetter(DeadLetter),
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What stood in the log.
    pub bytes: Vec<u8>,
    /// Why it cannot be read.
    pub reason: String,
}

/// What a record is recognised by when it is read again: the beginning of its SHA-256.
///
/// A checkpoint that keeps the one of its last record tells the log that was counted from another one that stands under the same name
/// and is long enough: a topic that was deleted and made anew, or a log that was cut and has grown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordDigest(pub [u8; 16]);

impl RecordDigest {
    /// The digest of a record as it stands in the log.
    #[must_use]
    pub fn of(record: &[u8]) -> Self {
        let whole: [u8; 32] = Sha256::digest(record).into();
        let mut beginning = [0; 16];
        beginning.copy_from_slice(&whole[..16]);
        Self(beginning)
    }
}

/// Consecutive records of one partition. Their offsets are `first`, `first + 1`, …: a batch with a hole cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBatch {
    /// The partition.
    pub partition: Partition,
    /// The offset of the first entry.
    pub first: Offset,
    /// The records, in the order of the log.
    pub entries: Vec<Entry>,
    /// What the last record is recognised by; `None` when that is not known.
    pub last: Option<RecordDigest>,
}

impl PartitionBatch {
    /// The offset after the last entry: where the checkpoint stands when the batch is applied.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.first.plus(self.entries.len())
    }

    /// Each entry with its position.
    pub fn positioned(&self) -> impl Iterator<Item = (Position, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (Position { partition: self.partition, offset: self.first.plus(index) }, entry))
    }
}

/// What one transaction applies: consecutive records of one or more partitions.
///
/// Without any part it is a probe: applying it proves that the store can commit, and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    parts: Vec<PartitionBatch>,
}

impl Batch {
    /// Takes the parts and sorts them by partition; `None` when a partition comes twice.
    #[must_use]
    pub fn new(mut parts: Vec<PartitionBatch>) -> Option<Self> {
        parts.sort_by_key(|part| part.partition);
        let distinct = parts.windows(2).all(|pair| pair[0].partition < pair[1].partition);
        distinct.then_some(Self { parts })
    }

    /// A batch of one partition.
    #[must_use]
    pub fn single(part: PartitionBatch) -> Self {
        Self { parts: vec![part] }
    }

    /// The parts, ascending by partition.
    #[must_use]
    pub fn parts(&self) -> &[PartitionBatch] {
        &self.parts
    }

    /// Every entry with its position: partition by partition, each in the order of the log.
    pub fn positioned(&self) -> impl Iterator<Item = (Position, &Entry)> {
        self.parts.iter().flat_map(PartitionBatch::positioned)
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.entries.len()).sum()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.entries.is_empty())
    }
}

/// For every partition that was ever applied, the offset of the next record, and what the record before it is recognised by, where
/// that is known. A partition that is not named starts at 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint(BTreeMap<Partition, (Offset, Option<RecordDigest>)>);

impl Checkpoint {
    /// The offset of the next record to apply.
    #[must_use]
    pub fn next(&self, partition: Partition) -> Offset {
        self.0.get(&partition).map(|(next, _)| *next).unwrap_or_default()
    }

    /// What the last record that was applied is recognised by, where that is known.
    #[must_use]
    pub fn last(&self, partition: Partition) -> Option<RecordDigest> {
        self.0.get(&partition).and_then(|(_, last)| *last)
    }

    /// Whether the record at `position` has been applied.
    #[must_use]
    pub fn has_passed(&self, position: Position) -> bool {
        self.next(position.partition) > position.offset
    }

    /// Whether it stands right behind these records, and it is they that brought it there.
    #[must_use]
    pub fn is_behind(&self, part: &PartitionBatch) -> bool {
        self.next(part.partition) == part.next() && self.last(part.partition) == part.last
    }

    /// Sets the offset of the next record. Nothing is known of the one before it.
    pub fn set(&mut self, partition: Partition, next: Offset) {
        self.0.insert(partition, (next, None));
    }

    /// Moves behind these records.
    pub fn pass(&mut self, part: &PartitionBatch) {
        self.0.insert(part.partition, (part.next(), part.last));
    }

    /// The partitions with their offsets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Offset)> {
        self.0.iter().map(|(&partition, &(next, _))| (partition, next))
    }
}

impl FromIterator<(Partition, Offset, Option<RecordDigest>)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (Partition, Offset, Option<RecordDigest>)>>(rows: I) -> Self {
        Self(rows.into_iter().map(|(partition, next, last)| (partition, (next, last))).collect())
    }
}

impl FromIterator<(Partition, Offset)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (Partition, Offset)>>(pairs: I) -> Self {
        pairs.into_iter().map(|(partition, next)| (partition, next, None)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(partition: u32) -> PartitionBatch {
        PartitionBatch { partition: Partition(partition), first: Offset::ZERO, entries: Vec::new(), last: None }
    }

    #[test]
    fn a_batch_with_a_partition_twice_cannot_be_made() {
        assert_eq!(Batch::new(vec![part(1), part(0), part(1)]), None);
        let batch = Batch::new(vec![part(1), part(0)]).expect("distinct");
        assert_eq!(batch.parts()[0].partition, Partition(0));
    }

    #[test]
    fn an_offset_never_leaves_the_range_of_sql_and_kafka() {
        assert_eq!(Offset::new(-1), None);
        assert_eq!(Offset::new(i64::MAX).map(|last| last.plus(7).get()), Some(i64::MAX));
    }
}
