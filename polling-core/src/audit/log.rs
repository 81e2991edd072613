//! Holds what is kept against the log.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;

use super::difference::{named, totals};
use super::replay::{Replay, Replayed, Untold};
use super::{
    AuditStore, Difference, Evidence, Extent, KeptPartition, Ledger, LogReport, Quantity, Record, Report, RetainedLog, Subject,
};
use crate::checkpoint::{Offset, Partition, RecordDigest};
use crate::clock::Timestamp;
use crate::model::{PollId, codec};
use crate::source::SourceError;
use crate::store::StoreError;

/// Votes that are held at once: some hundred megabytes. A longer log is read several times.
const HELD_VOTES_MAX: u64 = 2_000_000;
/// A vote may be appended so much later than one that was accepted after it: as long as a server tries to write it, and as far as the
/// clocks of servers may be apart.
const DISORDER_MAX: Duration = Duration::from_secs(300);

/// Which log is read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDemand {
    /// Any, as far as it still has its records.
    AsFarAsRetained,
    /// One that still has all of them.
    WhenWhole,
}

/// Counts once more what the log says up to the checkpoint, apart from the store, and holds the totals of these polls, or of all when none is
/// named, against it; of all polls, the counts beside the checkpoints as well. What the log cannot tell is noted in `report`.
///
/// The definitions of the polls are held in memory, and a bounded number of votes.
///
/// Dropping the future stops it.
///
/// # Errors
///
/// When the store or the log cannot be read.
pub async fn audit_log(
    store: &dyn AuditStore,
    log: &dyn RetainedLog,
    demand: LogDemand,
    polls: &[PollId],
    report: &mut Report,
) -> Result<(), LogAuditError> {
    // In this order: the log has in any case reached where the checkpoint stands.
    let ledger = store.ledger(polls).await?;
    let extents = log.extents().await?;
    let Some(ranges) = ranges(&ledger, &extents, report) else {
        report.unchecked.push("the totals were not held against the log, which is not the one that was counted".to_owned());
        return Ok(());
    };
    let truncated: Vec<&Range> = ranges.iter().filter(|range| range.first > Offset::ZERO).collect();
    for range in &truncated {
        let Range { partition, first, .. } = range;
        report
            .unchecked
            .push(format!("partition {partition} is retained from offset {first} on; what came before cannot be read"));
    }
    if demand == LogDemand::WhenWhole && !truncated.is_empty() {
        report.unchecked.push("the log was not read, because it does not have every record any more".to_owned());
        return Ok(());
    }
    let complete_from = complete_from(log, &truncated).await?;
    let records: u64 = ranges.iter().map(Range::records).sum();
    let rounds = records.div_ceil(HELD_VOTES_MAX).max(1);
    let mut replay = Replay::new(&ledger, complete_from, rounds);
    for _ in 0..rounds {
        for range in &ranges {
            if !read_range(log, range, &mut replay).await? {
                report.add(other_log(range.partition, &range.kept));
                report
                    .unchecked
                    .push("the totals were not held against the log, which is not the one that was counted".to_owned());
                return Ok(());
            }
        }
        replay.end_round();
    }
    let mut told = LogReport { records, ..LogReport::default() };
    told.retained_from = ranges.iter().map(|range| (range.partition, range.first)).collect();
    if ledger.is_whole {
        ranges.iter().for_each(|range| report.add(counts(range, replay.partition(range.partition))));
    }
    told.polls = compare_totals(&ledger, &replay, report);
    report.log = Some(told);
    Ok(())
}

/// Why the log was not held against the store.
#[derive(Debug, thiserror::Error)]
pub enum LogAuditError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] SourceError),
}

/// What is read of a partition.
#[derive(Debug, Clone, Copy)]
struct Range {
    partition: Partition,
    first: Offset,
    kept: KeptPartition,
}

impl Range {
    fn records(&self) -> u64 {
        self.kept.next.since(self.first).unwrap_or_default()
    }
}

/// What is to be read; `None` when a partition is not the one that was counted.
fn ranges(ledger: &Ledger, extents: &BTreeMap<Partition, Extent>, report: &mut Report) -> Option<Vec<Range>> {
    let mut ranges = Some(Vec::new());
    for (&partition, &kept) in &ledger.partitions {
        let extent = extents.get(&partition).copied().unwrap_or(Extent { first: Offset::ZERO, end: Offset::ZERO });
        if extent.end < kept.next {
            let (read, end) = (kept.next.get().unsigned_abs(), extent.end.get().unsigned_abs());
            report.add(Difference::between(Subject::Partition(partition), Quantity::Records, read, end, Evidence::Log));
            ranges = None;
        } else if let Some(ranges) = &mut ranges {
            ranges.push(Range { partition, first: extent.first.min(kept.next), kept });
        }
    }
    ranges
}

/// From when on all votes of new polls are in the log: every record that is gone was written before the oldest that is there.
async fn complete_from(log: &dyn RetainedLog, truncated: &[&Range]) -> Result<Option<Timestamp>, SourceError> {
    let mut from = Timestamp::MIN;
    for range in truncated {
        if range.records() == 0 {
            return Ok(None);
        }
        let mut oldest = log.read(range.partition, range.first, range.first.plus(1));
        let Some(record) = oldest.next().await.transpose()?.and_then(|records| records.into_iter().next()) else {
            return Ok(None);
        };
        let Ok(vote) = codec::decode(&record.bytes) else { return Ok(None) };
        from = from.max(vote.accepted_at.saturating_add(DISORDER_MAX));
    }
    Ok(Some(from))
}

/// Reads a range once. Whether its last record is the one that was counted, as far as that can be told.
async fn read_range(log: &dyn RetainedLog, range: &Range, replay: &mut Replay<'_>) -> Result<bool, SourceError> {
    let Range { partition, first, kept } = *range;
    if first == kept.next {
        return Ok(true);
    }
    let mut pieces = log.read(partition, first, kept.next);
    while let Some(records) = pieces.next().await {
        for Record { offset, bytes } in records? {
            let taken = replay.take(partition, offset, &bytes);
            taken.map_err(|error| SourceError(format!("partition {partition}, offset {offset}: {error}").into()))?;
            if offset.plus(1) == kept.next && kept.last.is_some_and(|last| last != RecordDigest::of(&bytes)) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// None of the records that were counted is known to be in the log.
fn other_log(partition: Partition, kept: &KeptPartition) -> Option<Difference> {
    Difference::between(Subject::Partition(partition), Quantity::Records, kept.next.get().unsigned_abs(), 0, Evidence::Log)
}

/// Where what is kept of a partition cannot be what the log says.
fn counts(range: &Range, replayed: Replayed) -> Vec<Difference> {
    let subject = Subject::Partition(range.partition);
    let dropped = range.first.get().unsigned_abs();
    let mut differences = Vec::new();
    let read = range.kept.next.get().unsigned_abs();
    differences.extend(Difference::between(subject, Quantity::Records, read, dropped + replayed.records, Evidence::Log));
    let doubtful = dropped + replayed.doubtful;
    for ((name, kept), (_, certain)) in named(&range.kept.counts).into_iter().zip(named(&replayed.certain)) {
        let nearest = kept.clamp(certain, certain + doubtful);
        differences.extend(Difference::between(subject, Quantity::Outcome(name), kept, nearest, Evidence::Log));
    }
    differences
}

/// Compares the totals that the log tells; answers of how many polls.
fn compare_totals(ledger: &Ledger, replay: &Replay<'_>, report: &mut Report) -> u64 {
    let mut compared = 0;
    let mut untold: BTreeMap<Untold, u64> = BTreeMap::new();
    for (&poll, kept) in &ledger.polls {
        match replay.totals(poll) {
            Ok(found) => {
                compared += 1;
                report.add(totals(poll, &kept.kept, &found, Evidence::Log));
            }
            Err(why) => *untold.entry(why).or_default() += 1,
        }
    }
    for (why, polls) in untold {
        let because = match why {
            Untold::Dropped => "are older than what the log still has",
            Untold::Archived => "are archived, and the log does not know since when",
            Untold::Divided => "have voters whose votes lie in several partitions, the order of which is not known",
        };
        report.unchecked.push(format!("polls whose totals were not held against the log: {polls} {because}"));
    }
    compared
}
