//! Holds what is kept against the vote rows.

use super::{AuditStore, Difference, Evidence, Quantity, Recount, Report, Subject};
use crate::model::PollId;
use crate::store::StoreError;

/// Polls that are asked for at once: only their names, so that memory does not grow with their number.
const PAGE_POLLS: usize = 500;

/// Adds up the vote rows of these polls, or of all when none is named, and holds the totals against them; then the counts beside the
/// checkpoints against the checkpoints and, of all polls, against the rows.
///
/// Dropping the future stops it.
///
/// # Errors
///
/// When the store cannot be read; `report` has what was found before.
pub async fn audit_rows(store: &dyn AuditStore, polls: &[PollId], report: &mut Report) -> Result<(), StoreError> {
    for &poll in polls {
        match store.recount(poll).await? {
            Some(recount) => note(&recount, report),
            None => report.missing.push(poll),
        }
    }
    if polls.is_empty() {
        audit_every_poll(store, report).await?;
    }
    let counters = store.counters(polls.is_empty()).await?;
    report.partitions = counters.partitions.len() as u64;
    for (&partition, kept) in &counters.partitions {
        report.records += kept.next.get().unsigned_abs();
        report.add(kept.difference(partition));
    }
    if let Some(found) = counters.standing {
        let all = || counters.partitions.values().map(|kept| kept.counts);
        let (counted, superseded): (u64, u64) =
            (all().map(|counts| counts.counted).sum(), all().map(|counts| counts.superseded).sum());
        // More superseded than counted is no number of votes, whatever the rows say.
        let kept = counted.saturating_sub(superseded);
        report.add(Difference::between(Subject::AllPartitions, Quantity::Standing, kept, found, Evidence::Votes));
    }
    Ok(())
}

async fn audit_every_poll(store: &dyn AuditStore, report: &mut Report) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.polls(after, PAGE_POLLS).await?;
        for &poll in &page {
            // A poll is never removed, so it is there.
            if let Some(recount) = store.recount(poll).await? {
                note(&recount, report);
            }
        }
        let Some(&last) = page.last() else { return Ok(()) };
        after = Some(last);
    }
}

fn note(recount: &Recount, report: &mut Report) {
    report.polls += 1;
    report.votes += recount.found.voters;
    report.add(recount.differences());
}
