//! What the runs of a fault came to, as a row of a table.

use std::fmt;

use voting::check::Verdict;
use voting::history::{Event, What};

use crate::arguments::Sabotage;

/// Violations that are shown of a run.
const SHOWN_MAX: usize = 5;

/// The head of the table.
pub(crate) const HEAD: &str = "\
| fault | seeds | acknowledged | unknown | not taken | counted | longest gap | right again | lost | twice | broken promises |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// All runs of a fault: sums, and the worst of the times.
#[derive(Debug, Default)]
pub(crate) struct Row {
    fault: String,
    seeds: Vec<u64>,
    sum: Verdict,
    broken: usize,
    right_after_ms: u64,
}

impl Row {
    pub(crate) fn of(fault: &str) -> Self {
        Self { fault: fault.to_owned(), ..Self::default() }
    }

    pub(crate) fn add(&mut self, seed: u64, events: &[Event], verdict: &Verdict) {
        self.seeds.push(seed);
        self.sum.acknowledged += verdict.acknowledged;
        self.sum.unknown += verdict.unknown;
        self.sum.refused += verdict.refused;
        self.sum.counted += verdict.counted;
        self.sum.longest_gap_ms = self.sum.longest_gap_ms.max(verdict.longest_gap_ms);
        self.sum.lost += verdict.lost;
        self.sum.twice += verdict.twice;
        self.broken += verdict.violations.len();
        let right = events.iter().filter_map(|event| match event.what {
            What::Recovered { after_ms, .. } => after_ms,
            _ => None,
        });
        self.right_after_ms = self.right_after_ms.max(right.max().unwrap_or_default());
    }

    /// Whether all promises were kept; or, where one was broken on purpose, whether that was found.
    pub(crate) const fn is_as_it_should_be(&self, sabotage: Option<Sabotage>) -> bool {
        match sabotage {
            None => self.broken == 0,
            Some(Sabotage::Skip) => self.sum.lost > 0,
            Some(Sabotage::Double) => self.sum.twice > 0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times of a run in seconds")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { acknowledged, unknown, refused, counted, longest_gap_ms, lost, twice, .. } = &self.sum;
        let seeds = match self.seeds.as_slice() {
            [first, .., last] => format!("{first} to {last}"),
            [only] => only.to_string(),
            [] => String::new(),
        };
        let (gap, right) = (seconds(*longest_gap_ms), seconds(self.right_after_ms));
        write!(
            formatter,
            "| {} | {seeds} | {acknowledged} | {unknown} | {refused} | {counted} | {gap:.1} s | {right:.1} s | {lost} | {twice} | {} |",
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
