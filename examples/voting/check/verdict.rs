//! What the checks find, and how it is shown.

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use super::expected::Expected;
use super::{live, log, votes};
use crate::history::{Event, Final, What};

/// Lines of an excerpt, at most: what a person can follow.
const EXCERPT_LINES_MAX: usize = 12;
/// What a worker says when a partition stops.
pub const ALARM: &str = "partition stopped";

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// What is wrong.
    pub what: String,
    /// The votes that show it.
    pub votes: Vec<Uuid>,
    /// Places in the history that show it.
    pub events: Vec<usize>,
}

impl Violation {
    pub(super) fn new(check: &'static str, what: String) -> Self {
        Self { check, what, votes: Vec::new(), events: Vec::new() }
    }

    pub(super) fn of(check: &'static str, what: String, vote: Uuid) -> Self {
        Self { votes: vec![vote], ..Self::new(check, what) }
    }

    pub(super) fn at(check: &'static str, what: String, events: Vec<usize>) -> Self {
        Self { events, ..Self::new(check, what) }
    }

    /// The fewest lines of the history that show it: the attempts of the votes and their answers, and the faults before the last.
    #[must_use]
    pub fn excerpt<'a>(&self, history: &'a [Event]) -> Vec<&'a Event> {
        let mut attempts = BTreeSet::new();
        let mut places: BTreeSet<usize> = self.events.iter().copied().collect();
        for (place, event) in history.iter().enumerate() {
            match &event.what {
                What::Sent { attempt, ballot, .. } if self.votes.contains(&ballot.vote_id) => {
                    attempts.insert(*attempt);
                    places.insert(place);
                }
                What::Answered { attempt, .. } if attempts.contains(attempt) => {
                    places.insert(place);
                }
                _ => {}
            }
        }
        let until = places.last().copied().unwrap_or(history.len());
        let is_fault = |(_, event): &(usize, &Event)| matches!(event.what, What::Fault { .. });
        let faults = history[..until].iter().enumerate().rev().filter(is_fault).map(|(place, _)| place);
        places.extend(faults.take(EXCERPT_LINES_MAX / 2));
        places.into_iter().take(EXCERPT_LINES_MAX).map(|place| &history[place]).collect()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.check, self.what)
    }
}

/// What the checks found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Votes with an acknowledgement.
    pub acknowledged: usize,
    /// Attempts after which a vote may be recorded or not.
    pub unknown: usize,
    /// Attempts that were certainly not recorded.
    pub refused: usize,
    /// Voters who are counted.
    pub counted: u64,
    /// The longest time in which no vote was acknowledged for the first time, in milliseconds.
    pub longest_gap_ms: u64,
    /// The longest time between the first attempt of a vote and its acknowledgement, in milliseconds.
    pub longest_wait_ms: u64,
    /// Acknowledged votes without the outcome that they have by definition.
    pub lost: usize,
    /// Votes that count more than once.
    pub twice: u64,
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
}

/// Checks everything.
#[must_use]
pub fn check(history: &[Event], state: &Final) -> Verdict {
    let expected = Expected::new(history, &state.log);
    let mut verdict = live::summary(history);
    verdict.counted = state.tallies.values().map(|tally| tally.voters).sum();
    let lost = votes::lost(&expected, state);
    verdict.lost = lost.len();
    verdict.twice = votes::twice(&expected, state);
    verdict.violations.extend(lost);
    for find in [
        votes::receipts_tell_the_outcome,
        votes::nothing_is_recorded_that_was_refused,
        votes::nothing_is_recorded_that_was_not_sent,
        votes::each_voter_has_the_row_that_the_log_gives,
        votes::the_tallies_are_those_of_the_rows,
        votes::the_tallies_are_those_of_the_log,
        votes::every_server_shows_the_tallies,
        log::the_log_has_no_hole,
        log::everything_in_the_log_is_applied_once,
    ] {
        verdict.violations.extend(find(&expected, state));
    }
    verdict.violations.extend(seen(history));
    verdict.violations.extend(live::everything_comes_right_by_itself(history));
    verdict.violations.extend(live::every_watcher_sees_the_end(history, &state.tallies));
    verdict
}

/// Checks a run in which a partition had to stop with an alarm: its log can no longer be read from the beginning, so that nobody can say
/// what should be counted.
#[must_use]
pub fn check_stopped(history: &[Event], state: &Final) -> Verdict {
    let mut verdict = live::summary(history);
    verdict.counted = state.tallies.values().map(|tally| tally.voters).sum();
    verdict.violations.extend(seen(history));
    let is_alarm = |place: &usize| matches!(&history[*place].what, What::Said { line, .. } if line.contains(ALARM));
    let wrong = live::everything_comes_right_by_itself(history).into_iter();
    verdict.violations.extend(wrong.filter(|violation| !violation.events.iter().any(is_alarm)));
    verdict
}

/// What was wrong at any moment.
fn seen(history: &[Event]) -> impl Iterator<Item = Violation> {
    let checks = [
        live::watchers_never_go_back,
        live::what_is_shown_is_absolute,
        live::nothing_is_shown_that_was_not_sent,
        live::the_store_is_right_at_every_moment,
    ];
    checks.into_iter().flat_map(|find| find(history))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Ballot, Counted, Progress, Record, RecordedVote, Row};

    const VOTERS: u128 = 4;

    fn poll() -> Uuid {
        Uuid::from_u128(0x019a_a5c2_7a10_7c3e_9d1f_3b1a_5f0c_8e21)
    }

    fn ballot(number: u128) -> Ballot {
        let choice = u8::try_from(number % 2 + 1).expect("small");
        Ballot { poll: poll(), voter: format!("voter {number}"), vote_id: Uuid::from_u128(number), choices: vec![choice] }
    }

    fn recorded(number: u128) -> RecordedVote {
        let Ballot { poll, vote_id, choices, .. } = ballot(number);
        RecordedVote { poll, voter: Uuid::from_u128(1000 + number), vote_id, accepted_at: 1_800_000_000_000_000, choices }
    }

    fn shown(watcher: usize, version: u64, totals: Counted) -> What {
        What::Shown { watcher, poll: poll(), epoch: 1, version, totals }
    }

    fn total() -> Counted {
        Counted { voters: 4, votes: vec![2, 2] }
    }

    fn answered(attempt: u64, answer: Answer) -> What {
        What::Answered { attempt, answer }
    }

    /// Four voters, all acknowledged and counted; the vote of the last was sent twice, and is in the log twice.
    fn sound() -> (Vec<Event>, Final) {
        let mut events = vec![What::Poll { poll: poll(), options: 2, allow_change: false }];
        for number in 0..VOTERS {
            let attempt = u64::try_from(number).expect("small");
            events.push(What::Sent { attempt, server: 0, ballot: ballot(number) });
            events.push(answered(attempt, Answer::Acknowledged { receipt: String::new() }));
        }
        events.push(What::Sent { attempt: 9, server: 1, ballot: ballot(3) });
        events.push(answered(9, Answer::Unknown { why: "a timeout".to_owned() }));
        events.push(What::Audited { poll: poll(), kept: total(), rows: total() });
        events.push(What::Watching { watcher: 0, polls: vec![poll()] });
        events.push(shown(0, 5, total()));
        let events = events.into_iter().zip(0..).map(|(what, place)| Event { at_ms: place * 10, what }).collect();

        let log: Vec<Record> = [0, 1, 2, 3, 3]
            .into_iter()
            .zip(0..)
            .map(|(number, offset)| Record { partition: 0, offset, vote: Some(recorded(number)) })
            .collect();
        let row = |(number, offset): (u128, i64)| {
            let RecordedVote { poll, voter, vote_id, choices, .. } = recorded(number);
            Row { poll, voter, vote_id, partition: 0, offset, choices }
        };
        let tallies: std::collections::BTreeMap<_, _> = [(poll(), total())].into();
        let progress = Progress { next_offset: 5, counted: 4, repeated: 1, ..Progress::default() };
        let state = Final {
            log,
            ends: [(0, 5), (1, 0)].into(),
            rows: (0..VOTERS).zip(0..).map(row).collect(),
            shown: vec![tallies.clone()],
            tallies,
            progress: [(0, progress)].into(),
            receipts: (0..VOTERS).map(|number| (Uuid::from_u128(number), "counted".to_owned())).collect(),
        };
        (events, state)
    }

    /// What the checks find after this change of a sound run.
    fn found(change: impl FnOnce(&mut Vec<Event>, &mut Final)) -> (Verdict, Vec<&'static str>) {
        let (mut events, mut state) = sound();
        change(&mut events, &mut state);
        let verdict = check(&events, &state);
        let mut checks: Vec<&str> = verdict.violations.iter().map(|violation| violation.check).collect();
        checks.dedup();
        (verdict, checks)
    }

    #[test]
    fn a_sound_run_is_found_sound() {
        let (verdict, checks) = found(|_, _| {});
        assert!(checks.is_empty(), "{:?}", verdict.violations);
        assert_eq!((verdict.acknowledged, verdict.unknown, verdict.counted, verdict.lost, verdict.twice), (4, 1, 4, 0, 0));
    }

    #[test]
    fn an_acknowledged_vote_that_is_not_in_the_log_is_lost_and_its_lines_are_shown() {
        let (mut events, state) = sound();
        events.push(Event { at_ms: 900, what: What::Sent { attempt: 50, server: 0, ballot: ballot(50) } });
        events.push(Event { at_ms: 901, what: answered(50, Answer::Acknowledged { receipt: String::new() }) });
        let verdict = check(&events, &state);
        assert_eq!(verdict.lost, 1);
        let excerpt = verdict.violations[0].excerpt(&events);
        assert_eq!(excerpt, [&events[events.len() - 2], &events[events.len() - 1]]);
    }

    #[test]
    fn a_vote_of_the_log_that_the_store_skipped_is_lost() {
        let (verdict, checks) = found(|_, state| {
            state.rows.remove(2);
            state.tallies.insert(poll(), Counted { voters: 3, votes: vec![1, 2] });
        });
        assert_eq!(verdict.lost, 1);
        for check in ["lost", "rows", "log and tallies"] {
            assert!(checks.contains(&check), "{checks:?}");
        }
    }

    #[test]
    fn a_vote_that_is_added_twice_is_counted_twice() {
        let (verdict, checks) = found(|_, state| {
            state.tallies.insert(poll(), Counted { voters: 5, votes: vec![3, 2] });
        });
        assert_eq!((verdict.lost, verdict.twice), (0, 1));
        assert!(checks.contains(&"rows and tallies") && checks.contains(&"log and tallies"), "{checks:?}");
    }

    #[test]
    fn a_second_row_of_a_voter_is_counted_twice() {
        let (verdict, checks) = found(|_, state| state.rows.push(state.rows[0].clone()));
        assert_eq!(verdict.twice, 1);
        assert!(checks.contains(&"rows"), "{checks:?}");
    }

    #[test]
    fn a_vote_that_was_refused_must_not_be_recorded() {
        let (_, checks) = found(|events, _| {
            for event in events {
                if let What::Answered { attempt: 1, answer } = &mut event.what {
                    *answer = Answer::NotRecorded { why: "refused".to_owned() };
                }
            }
        });
        assert_eq!(checks, ["refused"]);
    }

    #[test]
    fn a_vote_that_was_never_answered_may_be_recorded_or_not() {
        let (verdict, checks) =
            found(|events, _| events.retain(|event| !matches!(event.what, What::Answered { attempt: 1, .. })));
        assert!(checks.is_empty(), "{:?}", verdict.violations);
    }

    #[test]
    fn what_nobody_sent_must_not_be_recorded() {
        let (_, checks) = found(|_, state| state.log[0].vote.as_mut().expect("a vote").choices = vec![2]);
        assert!(checks.contains(&"recorded"), "{checks:?}");
    }

    #[test]
    fn a_record_that_is_no_vote_must_have_been_written_on_purpose() {
        let with = |is_known: bool| {
            found(|events, state| {
                if is_known {
                    events.push(Event { at_ms: 999, what: What::Foreign { partition: 0, offset: 5 } });
                }
                state.log.push(Record { partition: 0, offset: 5, vote: None });
                state.ends.insert(0, 6);
                let progress = Progress { next_offset: 6, counted: 4, repeated: 1, invalid: 1, ..Progress::default() };
                state.progress.insert(0, progress);
            })
            .1
        };
        assert_eq!(with(true), [""; 0]);
        assert_eq!(with(false), ["recorded"]);
    }

    #[test]
    fn a_vote_waits_from_its_first_attempt_to_its_acknowledgement() {
        let longest = |change: fn(&mut Vec<Event>)| found(|events, _| change(events)).0.longest_wait_ms;
        assert_eq!(longest(|_| {}), 10);
        let resent = |events: &mut Vec<Event>| {
            for event in events {
                match &mut event.what {
                    What::Answered { attempt: 3, answer } => *answer = Answer::Unknown { why: "a timeout".to_owned() },
                    What::Answered { attempt: 9, answer } => *answer = Answer::Acknowledged { receipt: String::new() },
                    _ => {}
                }
            }
        };
        assert_eq!(longest(resent), 30);
    }

    #[test]
    fn a_receipt_that_says_another_outcome_is_found() {
        for status in ["pending", "duplicate"] {
            let (_, checks) = found(|_, state| status.clone_into(&mut state.receipts[0].1));
            assert_eq!(checks, ["receipts"]);
        }
    }

    #[test]
    fn a_hole_in_the_log_and_an_end_that_was_not_read_are_found() {
        let (_, checks) = found(|_, state| state.log[4].offset = 5);
        assert!(checks.contains(&"offsets"), "{checks:?}");
        let (_, checks) = found(|_, state| {
            state.ends.insert(1, 1);
        });
        assert_eq!(checks, ["offsets"]);
    }

    #[test]
    fn a_record_that_is_applied_twice_or_not_at_all_is_found_by_the_outcomes() {
        for counted in [3, 5] {
            let (_, checks) = found(|_, state| {
                state.progress.entry(0).and_modify(|progress| progress.counted = counted);
            });
            assert_eq!(checks, ["applied"]);
        }
    }

    #[test]
    fn a_repeat_of_a_duplicate_may_be_taken_for_another_duplicate_and_for_nothing_else() {
        let after = |duplicate, repeated| {
            found(|events, state| {
                let second = Ballot { vote_id: Uuid::from_u128(88), choices: vec![2], ..ballot(0) };
                events.insert(9, Event { at_ms: 85, what: What::Sent { attempt: 88, server: 0, ballot: second.clone() } });
                for offset in [5, 6] {
                    let vote = RecordedVote { vote_id: second.vote_id, choices: vec![2], ..recorded(0) };
                    state.log.push(Record { partition: 0, offset, vote: Some(vote) });
                }
                state.ends.insert(0, 7);
                let progress = Progress { next_offset: 7, counted: 4, duplicate, repeated, ..Progress::default() };
                state.progress.insert(0, progress);
            })
            .1
        };
        assert_eq!(after(1, 2), [""; 0]);
        assert_eq!(after(2, 1), [""; 0]);
        assert_eq!(after(3, 0), ["applied"]);
        assert_eq!(after(0, 3), ["applied"]);
        assert_eq!(after(2, 2), ["applied"]);
    }

    #[test]
    fn a_server_that_shows_something_else_is_found() {
        let (_, checks) = found(|_, state| {
            state.shown[0].insert(poll(), Counted { voters: 3, votes: vec![1, 2] });
        });
        assert_eq!(checks, ["servers"]);
    }

    #[test]
    fn a_watcher_who_is_shown_something_older_is_found() {
        let less = Counted { voters: 3, votes: vec![1, 2] };
        let after = |what| found(|events, _| events.push(Event { at_ms: 999, what })).1;
        assert_eq!(after(shown(0, 4, total())), ["watchers"]);
        assert_eq!(after(shown(0, 5, less.clone())), ["watchers", "states", "convergence"]);
        assert_eq!(after(shown(0, 5, total())), [""; 0]);
        assert_eq!(after(shown(1, 4, total())), [""; 0]);
        assert_eq!(after(shown(1, 4, less)), ["convergence"]);
    }

    #[test]
    fn a_watcher_who_is_shown_nothing_is_found() {
        let watching = What::Watching { watcher: 1, polls: vec![poll()] };
        let (_, checks) = found(|events, _| events.push(Event { at_ms: 999, what: watching }));
        assert_eq!(checks, ["convergence"]);
    }

    #[test]
    fn a_change_that_is_shown_as_a_state_is_found() {
        let change = Counted { voters: 1, votes: vec![0, 1] };
        let after = |what: [What; 2]| found(|events, _| events.extend(what.into_iter().map(|what| Event { at_ms: 999, what }))).1;
        assert_eq!(after([shown(0, 6, change.clone()), shown(0, 7, total())]), ["states"], "fewer votes than before");
        assert_eq!(after([shown(1, 5, change), shown(1, 6, total())]), ["states"], "other totals than those of watcher 0");
    }

    #[test]
    fn more_than_was_sent_until_then_is_found() {
        let (_, checks) = found(|events, _| {
            let early = Event { at_ms: 11, what: shown(0, 1, Counted { voters: 1, votes: vec![0, 1] }) };
            events.insert(2, early);
        });
        assert_eq!(checks, ["bounds"]);
    }

    #[test]
    fn a_tally_that_is_not_the_rows_or_shrinks_is_found_while_it_runs() {
        let less = Counted { voters: 3, votes: vec![1, 2] };
        let audited = |kept: &Counted, rows: &Counted| What::Audited { poll: poll(), kept: kept.clone(), rows: rows.clone() };
        for what in [audited(&total(), &less), audited(&less, &less)] {
            let (_, checks) = found(|events, _| events.push(Event { at_ms: 999, what }));
            assert_eq!(checks, ["audit"]);
        }
    }

    #[test]
    fn what_does_not_come_right_by_itself_is_found() {
        for what in [
            What::Recovered { what: "the log".to_owned(), after_ms: None },
            What::Ended { program: "worker 1".to_owned(), status: "exit status: 70".to_owned() },
            What::Said { program: "server 1".to_owned(), line: "a task panicked".to_owned() },
        ] {
            let (_, checks) = found(|events, _| events.push(Event { at_ms: 999, what }));
            assert_eq!(checks, ["liveness"]);
        }
    }

    #[test]
    fn an_alarm_is_wrong_unless_a_partition_had_to_stop() {
        let said = |line: &str| What::Said { program: "worker 1".to_owned(), line: line.to_owned() };
        let (mut events, state) = sound();
        events.push(Event { at_ms: 999, what: said(ALARM) });
        let checks = |verdict: Verdict| verdict.violations.iter().map(|violation| violation.check).collect::<Vec<_>>();
        assert_eq!(checks(check(&events, &state)), ["liveness"]);
        assert_eq!(checks(check_stopped(&events, &state)), [""; 0]);
        events.push(Event { at_ms: 999, what: said("a task panicked") });
        assert_eq!(checks(check_stopped(&events, &state)), ["liveness"]);
    }

    #[test]
    fn a_changed_vote_supersedes_the_one_before() {
        let (verdict, checks) = found(|events, state| {
            events[0].what = What::Poll { poll: poll(), options: 2, allow_change: true };
            let changed = Ballot { vote_id: Uuid::from_u128(77), choices: vec![2], ..ballot(0) };
            events.insert(9, Event { at_ms: 85, what: What::Sent { attempt: 77, server: 0, ballot: changed.clone() } });
            let vote = RecordedVote { vote_id: changed.vote_id, choices: vec![2], ..recorded(0) };
            state.log.push(Record { partition: 0, offset: 5, vote: Some(vote) });
            state.rows[0] = Row { vote_id: changed.vote_id, offset: 5, choices: vec![2], ..state.rows[0].clone() };
            state.receipts[0].1 = "superseded".to_owned();
            let after = Counted { voters: 4, votes: vec![1, 3] };
            state.tallies.insert(poll(), after.clone());
            state.shown[0].insert(poll(), after.clone());
            let progress = Progress { next_offset: 6, counted: 5, superseded: 1, repeated: 1, ..Progress::default() };
            state.progress.insert(0, progress);
            state.ends.insert(0, 6);
            events.push(Event { at_ms: 999, what: shown(0, 6, after) });
        });
        assert!(checks.is_empty(), "{:?}", verdict.violations);
    }

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history");
        let (events, state) = sound();
        let recorder = crate::history::Recorder::create(&path).expect("made");
        events.iter().for_each(|event| recorder.note(event.what.clone()));
        assert!(crate::history::read(&path).is_err(), "it has no end yet");
        let written = recorder.finish(&state).expect("written");
        assert_eq!(crate::history::read(&path).expect("read"), (written, state));
    }
}
