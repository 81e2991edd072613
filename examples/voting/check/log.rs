//! The log has no hole, and every record of it is applied exactly once.

use std::collections::BTreeMap;

use super::expected::Expected;
use super::verdict::Violation;
use crate::history::{Final, Progress};

pub(super) fn the_log_has_no_hole(_: &Expected, state: &Final) -> Vec<Violation> {
    let mut next: BTreeMap<u32, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for record in &state.log {
        let due = next.entry(record.partition).or_default();
        if record.offset != *due {
            let what = format!("partition {}: after offset {} comes {}", record.partition, *due - 1, record.offset);
            wrong.push(Violation::new("offsets", what));
        }
        *due = record.offset + 1;
    }
    for (partition, end) in state.ends.iter().filter(|(_, end)| **end > 0) {
        let read = next.get(partition).copied().unwrap_or(0);
        if read != *end {
            wrong.push(Violation::new("offsets", format!("partition {partition}: written to {end}, read to {read}")));
        }
    }
    wrong
}

pub(super) fn everything_in_the_log_is_applied_once(expected: &Expected, state: &Final) -> Vec<Violation> {
    let is_right = |partition: &u32, due: &Progress, has: &Progress| {
        let taken_for_duplicates = has.duplicate - due.duplicate;
        let most = expected.repeated_duplicates.get(partition).copied().unwrap_or(0);
        let same = Progress { duplicate: due.duplicate, repeated: has.repeated + taken_for_duplicates, ..has.clone() };
        (0..=most).contains(&taken_for_duplicates) && same == *due
    };
    let due = expected.progress.iter();
    let wrong = due
        .filter(|(partition, due)| !state.progress.get(partition).is_some_and(|has| is_right(partition, due, has)))
        .map(|(partition, due)| {
            let has = state.progress.get(partition);
            Violation::new("applied", format!("partition {partition}: the log gives {due:?}, the store has {has:?}"))
        });
    wrong.collect()
}
