//! The result: a table for people, or JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::check::Check;
use crate::ledger::Answers;
use crate::round::Round;
use crate::watch::Watched;

/// Everything that is known after a run. Times are seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) what: String,
    pub(crate) seed: u64,
    pub(crate) rate: u16,
    pub(crate) servers: usize,
    pub(crate) took: f64,
    pub(crate) rounds: Vec<Round>,
    pub(crate) sent: usize,
    #[serde(flatten)]
    pub(crate) answers: Answers,
    /// Votes that were never answered for good.
    pub(crate) never_known: usize,
    /// Acknowledged votes that were sent once more on purpose.
    pub(crate) resent: u64,
    /// Refusals, which ought not to be.
    pub(crate) refusals: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(crate) check: Check,
    pub(crate) watched: Watched,
    /// Whether all of it is as promised.
    pub(crate) held: bool,
}

impl Report {
    /// What is not as promised, in words.
    pub(crate) fn wrong(&self, wait_max: Option<Duration>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(self.check.lost == 0, format!("{} acknowledged votes are lost", self.check.lost));
        must(self.check.twice == 0, format!("{} votes are counted twice", self.check.twice));
        must(self.never_known == 0, format!("{} votes were never answered for good", self.never_known));
        must(self.refusals.is_empty(), format!("votes were refused: {:?}", self.refusals));
        must(self.watched.went_back == 0, format!("watchers were shown {} older frames", self.watched.went_back));
        let incomplete = self.watched.watchers - self.watched.complete;
        must(incomplete == 0, format!("{incomplete} watchers were not shown the final results"));
        for round in &self.rounds {
            must(round.recovered.is_some(), format!("round {} did not recover", round.round));
            let limit = wait_max.map_or(f64::INFINITY, |limit| limit.as_secs_f64());
            let is_soon = round.longest_wait.max(round.longest_gap) <= limit;
            must(is_soon, format!("round {}: a vote waited for {:.2} s", round.round, round.longest_wait));
        }
        wrong
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "\n{}: {} rounds, {} votes a second to {} servers, seed {}\n",
            self.what,
            self.rounds.len(),
            self.rate,
            self.servers,
            self.seed
        )?;
        writeln!(
            formatter,
            "| round | acknowledged | not recorded | unknown | stalled votes | stall until first acknowledgement | until last | longest gap | longest wait | results stood still |"
        )?;
        writeln!(formatter, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for round in &self.rounds {
            let Answers { acknowledged, not_recorded, unknown } = round.answers;
            let lasted = |until: Option<f64>| {
                let seconds = round.stall_began.zip(until).map(|(began, until)| until - began);
                seconds.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds:.1} s"))
            };
            writeln!(
                formatter,
                "| {} | {acknowledged} | {not_recorded} | {unknown} | {} | {} | {} | {:.1} s | {:.1} s | {:.1} s |",
                round.round,
                round.stalled_votes,
                lasted(round.first_acknowledgement),
                lasted(round.stall_ended),
                round.longest_gap,
                round.longest_wait,
                round.results_gap,
            )?;
        }
        let Self { sent, answers, never_known, resent, check, watched, took, .. } = self;
        writeln!(
            formatter,
            "\nvotes        {sent} sent in {took:.0} s, {} acknowledged, {never_known} never known",
            answers.acknowledged
        )?;
        writeln!(
            formatter,
            "answers      {} not recorded, {} unknown: sent again; {resent} sent once more on purpose",
            answers.not_recorded, answers.unknown
        )?;
        let receipts: Vec<String> = check.receipts.iter().map(|(status, number)| format!("{number} {status}")).collect();
        writeln!(formatter, "receipts     {}", receipts.join(", "))?;
        let Watched { watchers, frames, went_back, reopened, complete } = watched;
        writeln!(
            formatter,
            "watchers     {complete} of {watchers} show the final results; {frames} frames, {went_back} went back, {reopened} sockets opened again"
        )?;
        writeln!(formatter, "tally        as sent at {} of {} servers", check.servers_as_sent, self.servers)?;
        writeln!(formatter, "lost         {}\ntwice        {}", check.lost, check.twice)
    }
}
