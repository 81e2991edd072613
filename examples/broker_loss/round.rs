//! One round: all is well, something is killed, and all is well again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::ledger::{Answers, STALL_AFTER, SharedLedger, locked};
use crate::screen::Screen;
use crate::watch::Watchers;

/// How often it is looked whether all is well.
const LOOK: Duration = Duration::from_millis(50);
/// How long after its acknowledgement a vote may be missing from what watchers see: servers read watched polls anew every 2 s.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// What a round has shown. Times are seconds after the command that kills had ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) round: u16,
    /// Seconds after the start of the run.
    pub(crate) killed_at: f64,
    #[serde(flatten)]
    pub(crate) answers: Answers,
    /// Votes of the longest stall: those that waited longer than a second, each while another one did.
    pub(crate) stalled_votes: usize,
    /// When the first of them was due.
    pub(crate) stall_began: Option<f64>,
    /// When the first of them was acknowledged.
    pub(crate) first_acknowledgement: Option<f64>,
    /// When the last of them was acknowledged.
    pub(crate) stall_ended: Option<f64>,
    /// When it was brought back.
    pub(crate) revived: Option<f64>,
    /// When votes were acknowledged and shown as before; absent: it took too long.
    pub(crate) recovered: Option<f64>,
    /// Seconds in which nobody at all was acknowledged.
    pub(crate) longest_gap: f64,
    /// Seconds that one vote waited for its acknowledgement.
    pub(crate) longest_wait: f64,
    /// Seconds in which the results of a watcher did not grow.
    pub(crate) results_gap: f64,
}

/// What a round looks at.
pub(crate) struct Observer<'a> {
    pub(crate) start: Instant,
    pub(crate) ledger: SharedLedger,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) screen: &'a Screen,
    pub(crate) arguments: &'a Arguments,
}

impl Observer<'_> {
    /// Plays a round.
    pub(crate) async fn play(&self, round: u16, fault: &mut Fault) -> Result<Round, Failure> {
        self.screen.say(&format!("\nround {round} of {}: {}", self.arguments.rounds, fault.what()));
        let Some(_) = self.calm(self.arguments.recover_seconds).await else {
            return Err(failure("votes are not acknowledged and shown in time, although nothing has been killed".to_owned()));
        };
        let began = Instant::now();
        self.screen.tell("all is well; killing it");
        fault.kill(round, self.screen, self.trouble()).await?;
        let killed = Instant::now();
        self.screen.tell("killed");
        let patience = if fault.can_revive() { self.arguments.down_seconds } else { self.arguments.recover_seconds };
        let mut recovered = self.calm(patience).await;
        let mut revived = None;
        if fault.can_revive() {
            revived = Some(Instant::now());
            self.screen.tell(if recovered.is_some() { "recovered without it; bringing it back" } else { "bringing it back" });
            fault.revive(round).await?;
            let again = self.calm(self.arguments.recover_seconds).await;
            recovered = again.and(recovered.or(again));
        }
        self.screen.tell(if recovered.is_some() { "recovered" } else { "NOT recovered" });
        let until = Instant::now();
        let stall = locked(&self.ledger).stall(began, until);
        // When a person kills, the first vote that had to wait tells when.
        let killed = stall.filter(|_| fault.is_by_hand()).map_or(killed, |stall| stall.began);
        let found = self.found(round, killed, (began, until), (revived, recovered));
        self.screen.say(&found.time_line());
        Ok(found)
    }

    /// Sums up what happened between two moments.
    fn found(
        &self,
        round: u16,
        killed: Instant,
        (from, until): (Instant, Instant),
        (revived, recovered): (Option<Instant>, Option<Instant>),
    ) -> Round {
        // A vote may have been due a moment before, or the command may have gone on for a moment after.
        let after = |moment: Instant| {
            let late = moment.saturating_duration_since(killed).as_secs_f64();
            late - killed.saturating_duration_since(moment).as_secs_f64()
        };
        let ledger = locked(&self.ledger);
        let stall = ledger.stall(from, until);
        Round {
            round,
            killed_at: killed.saturating_duration_since(self.start).as_secs_f64(),
            answers: ledger.answers(from, until),
            stalled_votes: stall.map_or(0, |stall| stall.votes),
            stall_began: stall.map(|stall| after(stall.began)),
            first_acknowledgement: stall.map(|stall| after(stall.first_acknowledgement)),
            stall_ended: stall.map(|stall| after(stall.ended)),
            revived: revived.map(after),
            recovered: recovered.map(after),
            longest_gap: ledger.longest_gap(from, until).as_secs_f64(),
            longest_wait: ledger.longest_wait(from, until).as_secs_f64(),
            results_gap: self.watchers.longest_gap(from, until).as_secs_f64(),
        }
    }

    /// Waits until all has been well for the time that counts as calm; answers since when. `None`: it took too long.
    async fn calm(&self, patience: Duration) -> Option<Instant> {
        let give_up = Instant::now() + patience + self.arguments.calm_seconds;
        let mut since = Instant::now();
        loop {
            let now = Instant::now();
            if !self.is_well(now) {
                since = now;
            } else if now - since >= self.arguments.calm_seconds {
                return Some(since);
            }
            if now > give_up {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends when something is wrong.
    async fn trouble(&self) {
        while self.is_well(Instant::now()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether votes are acknowledged at once, and all watchers see them soon.
    fn is_well(&self, now: Instant) -> bool {
        let ledger = locked(&self.ledger);
        let expected = ledger.acknowledged_by(now.checked_sub(SHOWN_WITHIN).unwrap_or(self.start));
        ledger.longest_open(now) <= STALL_AFTER && self.watchers.voters() >= expected as u64
    }
}

impl Round {
    /// For people.
    fn time_line(&self) -> String {
        let mut events = vec![(0.0, "killed".to_owned())];
        let mut add = |at: Option<f64>, what: String| events.extend(at.map(|at| (at, what)));
        add(self.stall_began, format!("stall began: the first of {} votes that had to wait", self.stalled_votes));
        add(self.first_acknowledgement, "first acknowledgement after it: there is a new leader, or a server that answers".into());
        add(self.stall_ended, "stall ended: the last of them was acknowledged".into());
        add(self.revived, "bringing it back began".into());
        add(self.recovered, "recovered: votes acknowledged and shown as before".into());
        events.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut text: String = events.iter().map(|(at, what)| format!("{at:+9.2} s  {what}\n")).collect();
        if self.stall_began.is_none() {
            text.push_str("             no vote waited longer than a second\n");
        }
        let Answers { acknowledged, not_recorded, unknown } = self.answers;
        text.push_str(&format!(
            "             {acknowledged} acknowledged; {not_recorded} answers \"not recorded\", {unknown} unknown\n"
        ));
        text.push_str(&format!(
            "             longest gap {:.2} s, longest wait of a vote {:.2} s, results stood still for {:.2} s",
            self.longest_gap, self.longest_wait, self.results_gap
        ));
        text
    }
}
