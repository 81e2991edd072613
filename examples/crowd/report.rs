//! What is printed in the end.

use std::fmt;
use std::time::Duration;

use crate::check::{Expectation, Receipts, Tallies};
use crate::score::{Latencies, Score, Verdict};
use crate::watch::Watched;

/// Mistakes that are printed one by one, at most.
const WRONG_SHOWN: usize = 10;

/// Everything that is known after a run.
pub(crate) struct Report<'a> {
    pub(crate) score: &'a Score,
    pub(crate) took: Duration,
    /// Whether votes had a time at which they were due.
    pub(crate) open_loop: bool,
    pub(crate) expectation: &'a Expectation,
    /// Whether votes may be refused.
    pub(crate) allow_refusals: bool,
    pub(crate) tallies: &'a Tallies,
    pub(crate) receipts: &'a Receipts,
    pub(crate) watched: Option<&'a Watched>,
    /// Processor time of this client while it was sending.
    pub(crate) processor: Option<Duration>,
}

impl Report<'_> {
    /// Whether everything was sent and taken, and the server shows it.
    pub(crate) fn is_as_sent(&self) -> bool {
        let open = [None, Some(Verdict::NotRecorded), Some(Verdict::Unknown)];
        let taken = open.into_iter().all(|verdict| self.score.count(verdict) == 0)
            && (self.allow_refusals || self.score.count(Some(Verdict::Refused)) == 0)
            && self.expectation.unfounded == 0;
        let watched_well = self.watched.is_none_or(|watched| watched.went_back == 0 && watched.complete);
        taken && self.tallies.wrong.is_empty() && self.receipts.wrong.is_empty() && watched_well
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_answers(formatter)?;
        self.write_times(formatter)?;
        self.write_receipts(formatter)?;
        self.write_watched(formatter)?;
        self.write_tallies(formatter)
    }
}

impl Report<'_> {
    fn write_answers(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |verdict| self.score.count(Some(verdict));
        let (counted, pending) = (count(Verdict::Counted), count(Verdict::Pending));
        let not_sent = self.score.count(None);
        let sent = self.score.verdicts.len() - not_sent;
        #[expect(clippy::cast_precision_loss, reason = "a rate for reading")]
        let rate = sent as f64 / self.took.as_secs_f64().max(1e-6);
        writeln!(formatter, "sent            {sent} votes in {:.2} s, {rate:.0} a second", self.took.as_secs_f64())?;
        if not_sent > 0 {
            writeln!(formatter, "not sent        {not_sent}: the server had been lost before")?;
        }
        writeln!(formatter, "acknowledged    {}: {counted} counted at once, {pending} pending", counted + pending)?;
        writeln!(formatter, "already voted   {}", count(Verdict::AlreadyVoted))?;
        if self.expectation.unfounded > 0 {
            writeln!(formatter, "                {} of them had NOT voted before", self.expectation.unfounded)?;
        }
        writeln!(formatter, "refused         {}{}", count(Verdict::Refused), listed(self.score.refusals.iter()))?;
        writeln!(formatter, "not recorded    {}", count(Verdict::NotRecorded))?;
        writeln!(formatter, "unknown         {}", count(Verdict::Unknown))?;
        let again = self.score.again.iter().map(|(again, number)| (again.as_str(), number));
        writeln!(formatter, "sent again      {}{}", self.score.again.values().sum::<u64>(), listed(again))
    }

    fn write_times(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.open_loop { "from the moment a vote was due" } else { "closed loop: from the sending" };
        writeln!(formatter, "latency         {} ({from})", Percentiles(&self.score.latencies))?;
        if self.open_loop {
            writeln!(formatter, "sending delay   {} (part of the latency)", Percentiles(&self.score.delays))?;
        }
        if let Some(processor) = self.processor {
            let votes = u32::try_from(self.score.verdicts.len()).unwrap_or(u32::MAX).max(1);
            writeln!(formatter, "client          {:.1} us of processor time a vote", (processor / votes).as_secs_f64() * 1e6)?;
        }
        Ok(())
    }

    fn write_receipts(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looked_up: u64 = self.receipts.outcomes.values().sum();
        write!(formatter, "receipts        {looked_up} looked up{}", listed(self.receipts.outcomes.iter()))?;
        writeln!(formatter, "; {} not as expected", self.receipts.wrong.len())?;
        write_wrong(formatter, &self.receipts.wrong)
    }

    fn write_watched(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(watched) = self.watched else { return Ok(()) };
        let Watched { frames, went_back, reconnected, .. } = watched;
        writeln!(formatter, "frames          {frames}: {went_back} went back, socket opened again {reconnected} times")?;
        writeln!(formatter, "vote to frame   {}", Percentiles(&watched.latencies))?;
        if !watched.complete {
            writeln!(formatter, "                the last frame did not show all voters")?;
        }
        Ok(())
    }

    fn write_tallies(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tallies { wrong, voters, hidden } = self.tallies;
        let polls = self.expectation.totals.len();
        let uncertain: u64 = self.expectation.uncertain.iter().sum();
        let verdict = match (wrong.is_empty(), uncertain) {
            (true, 0) => "as sent".to_owned(),
            (true, _) => format!("within what {uncertain} unknown votes leave open"),
            (false, _) => "NOT as sent".to_owned(),
        };
        let noun = if polls == 1 { "poll" } else { "polls" };
        writeln!(formatter, "tally           {verdict}: {voters} voters in {polls} {noun}")?;
        if *hidden > 0 {
            writeln!(formatter, "                hidden results: of {hidden} only voters were compared")?;
        }
        write_wrong(formatter, wrong)
    }
}

fn write_wrong(formatter: &mut fmt::Formatter<'_>, wrong: &[String]) -> fmt::Result {
    wrong.iter().take(WRONG_SHOWN).try_for_each(|line| writeln!(formatter, "                {line}"))
}

/// ` (3 of these, 4 of those)`, or nothing.
fn listed<K: fmt::Display>(counts: impl Iterator<Item = (K, impl fmt::Display)>) -> String {
    let parts: Vec<String> = counts.map(|(what, number)| format!("{number} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

struct Percentiles<'a>(&'a Latencies);

impl fmt::Display for Percentiles<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("nothing measured");
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(formatter, "{name} {:.1} ms, ", self.0.at(quantile).as_secs_f64() * 1e3)?;
        }
        write!(formatter, "max {:.1} ms", self.0.at(1.0).as_secs_f64() * 1e3)
    }
}

/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS_A_SECOND: u32 = 100;

/// Processor time that this process has used; `None` where the system does not say.
pub(crate) fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in brackets, which may hold spaces; user and system time are the 14th and the 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(Duration::from_secs(1) * ticks / TICKS_A_SECOND)
}
