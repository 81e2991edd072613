//! What the runs of a fault came to, as a row of a table.

use std::fmt;

use voting::check::Verdict;
use voting::history::{Event, What};

use crate::arguments::Sabotage;

/// Violations that are shown of a run.
const SHOWN_MAX: usize = 5;

/// The head of the table.
pub(crate) const HEAD: &str = "\
| fault | seeds | acknowledged | unknown | not taken | counted | longest gap | longest wait | right again | lost | twice | broken promises |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// All runs of a fault: sums, and the worst of the times.
#[derive(Debug, Default)]
pub(crate) struct Row {
    fault: String,
    sabotage: Option<Sabotage>,
    seeds: Vec<u64>,
    sum: Verdict,
    broken: usize,
    right_after_ms: u64,
    /// In how many runs a promise that was broken on purpose was found broken.
    found: usize,
}

impl Row {
    pub(crate) fn of(fault: &str, sabotage: Option<Sabotage>) -> Self {
        Self { fault: fault.to_owned(), sabotage, ..Self::default() }
    }

    pub(crate) fn add(&mut self, seed: u64, events: &[Event], verdict: &Verdict) {
        self.seeds.push(seed);
        self.sum.acknowledged += verdict.acknowledged;
        self.sum.unknown += verdict.unknown;
        self.sum.refused += verdict.refused;
        self.sum.counted += verdict.counted;
        self.sum.longest_gap_ms = self.sum.longest_gap_ms.max(verdict.longest_gap_ms);
        self.sum.longest_wait_ms = self.sum.longest_wait_ms.max(verdict.longest_wait_ms);
        self.sum.lost += verdict.lost;
        self.sum.twice += verdict.twice;
        self.broken += verdict.violations.len();
        self.found += usize::from(self.sabotage.is_some_and(|sabotage| is_found(sabotage, verdict)));
        let right = events.iter().filter_map(|event| match event.what {
            What::Recovered { after_ms, .. } => after_ms,
            _ => None,
        });
        self.right_after_ms = self.right_after_ms.max(right.max().unwrap_or_default());
    }

    /// Whether all promises were kept; or, where one was broken on purpose, whether every run found that.
    pub(crate) fn is_as_it_should_be(&self) -> bool {
        if self.sabotage.is_some() { self.found == self.seeds.len() } else { self.broken == 0 }
    }
}

/// Whether the checks found what this kind of sabotage breaks, and not just anything.
fn is_found(sabotage: Sabotage, verdict: &Verdict) -> bool {
    let is_said_by = |check| verdict.violations.iter().any(|violation| violation.check == check);
    match sabotage {
        Sabotage::Skip | Sabotage::Forget => verdict.lost > 0,
        Sabotage::Rewind => is_said_by("applied"),
        Sabotage::Double => verdict.twice > 0,
        Sabotage::Deltas => is_said_by("states"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "times of a run in seconds")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { acknowledged, unknown, refused, counted, longest_gap_ms, longest_wait_ms, lost, twice, .. } = &self.sum;
        let seeds = match self.seeds.as_slice() {
            [first, .., last] => format!("{first} to {last}"),
            [only] => only.to_string(),
            [] => String::new(),
        };
        let (gap, wait, right) = (seconds(*longest_gap_ms), seconds(*longest_wait_ms), seconds(self.right_after_ms));
        write!(
            formatter,
            "| {} | {seeds} | {acknowledged} | {unknown} | {refused} | {counted} | {gap:.1} s | {wait:.1} s | {right:.1} s | {lost} | {twice} | {} |",
            self.fault, self.broken
        )
    }
}

/// What is wrong in a run, with the lines of its history that show it.
pub(crate) fn wrong(events: &[Event], verdict: &Verdict) -> String {
    let mut text = String::new();
    for violation in verdict.violations.iter().take(SHOWN_MAX) {
        text.push_str(&format!("WRONG: {violation}\n"));
        for event in violation.excerpt(events) {
            let line = serde_json::to_string(event).unwrap_or_else(|error| error.to_string());
            text.push_str(&format!("    {line}\n"));
        }
    }
    if let Some(more @ 1..) = verdict.violations.len().checked_sub(SHOWN_MAX) {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}
