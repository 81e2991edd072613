//! Everything that was sent and answered, with its time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Uuid;
use voting::answer::Again;

/// A vote that waits longer for its acknowledgement has met a stall: far more than an answer takes on a busy machine.
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(1);

/// A vote that was due.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) due: Instant,
    /// Which of the polls.
    pub(crate) poll: usize,
    /// Place of the option.
    pub(crate) option: u8,
    pub(crate) vote_id: Uuid,
    /// When it was acknowledged, and with which receipt.
    pub(crate) acknowledged: Option<(Instant, String)>,
}

impl Sent {
    fn wait(&self) -> Option<Duration> {
        self.acknowledged.as_ref().map(|(at, _)| at.saturating_duration_since(self.due))
    }
}

/// The votes of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: Vec<Sent>,
    /// Those without a final answer.
    open: BTreeSet<usize>,
    /// When votes were acknowledged, ascending.
    acknowledgements: Vec<Instant>,
    /// When an answer came that was not final, ascending.
    again: Vec<(Instant, Again)>,
    /// Refusals by what was said.
    refusals: BTreeMap<String, u64>,
    resent: u64,
}

/// A ledger that tasks write to and the report reads.
pub(crate) type SharedLedger = Arc<Mutex<Ledger>>;

pub(crate) fn locked(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many answers there were of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answers {
    pub(crate) acknowledged: usize,
    /// Answers that the vote is certainly not recorded; it was sent again.
    pub(crate) not_recorded: usize,
    /// Answers, or none, after which it may be recorded or not; it was sent again.
    pub(crate) unknown: usize,
}

/// Votes that had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// How many.
    pub(crate) votes: usize,
    /// When the first of them was due.
    pub(crate) began: Instant,
    /// When the first of them was acknowledged.
    pub(crate) first_acknowledgement: Instant,
    /// When the last of them was acknowledged.
    pub(crate) ended: Instant,
}

impl Ledger {
    /// Enters a vote that is due; answers its number.
    pub(crate) fn enter(&mut self, vote: Sent) -> usize {
        let number = self.sent.len();
        self.sent.push(vote);
        self.open.insert(number);
        number
    }

    /// Notes the acknowledgement of a vote; that of a resend changes nothing.
    pub(crate) fn acknowledge(&mut self, number: usize, receipt: String) {
        let now = Instant::now();
        if self.open.remove(&number) {
            self.acknowledgements.push(now);
            self.sent[number].acknowledged = Some((now, receipt));
        }
    }

    /// Notes an answer after which the vote is sent again.
    pub(crate) fn note_again(&mut self, again: Again) {
        self.again.push((Instant::now(), again));
    }

    /// Notes that an acknowledged vote was sent once more.
    pub(crate) const fn note_resend(&mut self) {
        self.resent += 1;
    }

    /// Notes a refusal, which ought not to be.
    pub(crate) fn refuse(&mut self, number: usize, why: String) {
        self.open.remove(&number);
        *self.refusals.entry(why).or_default() += 1;
    }

    pub(crate) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    pub(crate) const fn refusals(&self) -> &BTreeMap<String, u64> {
        &self.refusals
    }

    pub(crate) const fn resent(&self) -> u64 {
        self.resent
    }

    /// Votes without a final answer.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// How long the oldest vote without a final answer has been due.
    pub(crate) fn longest_open(&self, now: Instant) -> Duration {
        self.open.first().map_or(Duration::ZERO, |number| now.saturating_duration_since(self.sent[*number].due))
    }

    /// Votes that had been acknowledged by `moment`.
    pub(crate) fn acknowledged_by(&self, moment: Instant) -> usize {
        self.acknowledgements.partition_point(|at| *at <= moment)
    }

    /// The answers that came between the two moments.
    pub(crate) fn answers(&self, from: Instant, until: Instant) -> Answers {
        let place = |moment| self.again.partition_point(|(at, _)| *at < moment);
        let again = &self.again[place(from)..place(until)];
        let unknown = again.iter().filter(|(_, again)| again.may_be_recorded()).count();
        Answers { acknowledged: self.acknowledgements_between(from, until).len(), not_recorded: again.len() - unknown, unknown }
    }

    /// The longest time between the two moments in which nobody at all was acknowledged.
    pub(crate) fn longest_gap(&self, from: Instant, until: Instant) -> Duration {
        let mut last = from;
        let mut longest = Duration::ZERO;
        for at in self.acknowledgements_between(from, until).iter().copied().chain([until]) {
            longest = longest.max(at.saturating_duration_since(last));
            last = at;
        }
        longest
    }

    /// The longest that a vote had to wait that was acknowledged between the two moments.
    pub(crate) fn longest_wait(&self, from: Instant, until: Instant) -> Duration {
        self.acknowledged_between(from, until).filter_map(Sent::wait).max().unwrap_or_default()
    }

    /// The longest stall that the votes acknowledged between the two moments show, if they do. Votes that waited at the same time,
    /// or one right after the other, have met the same one.
    pub(crate) fn stall(&self, from: Instant, until: Instant) -> Option<Stall> {
        let waited = |sent: &&Sent| sent.wait().is_some_and(|wait| wait > STALL_AFTER);
        let mut stalls: Vec<Stall> = Vec::new();
        // In the order in which they were due.
        for sent in self.acknowledged_between(from, until).filter(waited) {
            let Some(at) = sent.acknowledged.as_ref().map(|(at, _)| *at) else { continue };
            match stalls.last_mut() {
                Some(stall) if sent.due <= stall.ended => {
                    stall.votes += 1;
                    stall.first_acknowledgement = stall.first_acknowledgement.min(at);
                    stall.ended = stall.ended.max(at);
                }
                _ => stalls.push(Stall { votes: 1, began: sent.due, first_acknowledgement: at, ended: at }),
            }
        }
        stalls.into_iter().max_by_key(|stall| stall.ended - stall.began)
    }

    fn acknowledgements_between(&self, from: Instant, until: Instant) -> &[Instant] {
        let place = |moment| self.acknowledgements.partition_point(|at| *at < moment);
        &self.acknowledgements[place(from)..place(until)]
    }

    fn acknowledged_between(&self, from: Instant, until: Instant) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.acknowledged.as_ref().is_some_and(|(at, _)| (from..until).contains(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of votes by when they were due and acknowledged, in milliseconds after `start`.
    fn ledger(start: Instant, votes: &[(u64, u64)]) -> Ledger {
        let at = |millis| start + Duration::from_millis(millis);
        let mut acknowledgements: Vec<Instant> = votes.iter().map(|(_, acknowledged)| at(*acknowledged)).collect();
        acknowledgements.sort();
        let sent = votes.iter().map(|(due, acknowledged)| Sent {
            due: at(*due),
            poll: 0,
            option: 0,
            vote_id: Uuid::nil(),
            acknowledged: Some((at(*acknowledged), String::new())),
        });
        Ledger { sent: sent.collect(), acknowledgements, ..Ledger::default() }
    }

    #[test]
    fn a_stall_of_some_votes_is_found_between_the_acknowledgements_of_others() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let votes = [(0, 10), (100, 6500), (200, 210), (300, 6400), (3000, 3010), (7000, 7010), (7100, 8200)];
        let ledger = ledger(start, &votes);
        let stall = ledger.stall(start, at(9000)).expect("two votes waited, and much later another one");
        let expected = Stall { votes: 2, began: at(100), first_acknowledgement: at(6400), ended: at(6500) };
        assert_eq!(stall, expected);
        assert_eq!(ledger.longest_wait(start, at(9000)), Duration::from_millis(6400));
        assert_eq!(ledger.longest_gap(start, at(8000)), Duration::from_millis(3390));
        assert_eq!(ledger.stall(at(7000), at(8000)), None);
    }

    #[test]
    fn a_gap_reaches_to_the_ends_of_the_time_looked_at() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let ledger = ledger(start, &[(0, 4000)]);
        assert_eq!(ledger.longest_gap(start, at(5000)), Duration::from_secs(4));
        assert_eq!(ledger.longest_gap(at(4500), at(9000)), Duration::from_millis(4500));
    }
}
