//! What was seen while it ran: watchers, looks into the store, programs, and whether all came right by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::verdict::{Verdict, Violation};
use crate::history::{Answer, Counted, Event, What};

/// How the attempts ended, and the longest time without an acknowledgement.
pub(super) fn summary(history: &[Event]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut votes = HashMap::new();
    let mut began = HashMap::new();
    let mut acknowledged = HashSet::new();
    let mut last_ms = None;
    for event in history {
        match &event.what {
            What::Sent { attempt, ballot, .. } => {
                votes.insert(*attempt, ballot.vote_id);
                began.entry(ballot.vote_id).or_insert(event.at_ms);
                last_ms.get_or_insert(event.at_ms);
            }
            What::Answered { attempt, answer } => match answer {
                // One that was acknowledged before is acknowledged again even without a log.
                Answer::Acknowledged { .. } if votes.get(attempt).is_some_and(|vote_id| acknowledged.insert(*vote_id)) => {
                    let since = last_ms.replace(event.at_ms).unwrap_or(event.at_ms);
                    verdict.longest_gap_ms = verdict.longest_gap_ms.max(event.at_ms - since);
                    let began = votes.get(attempt).and_then(|vote_id| began.get(vote_id)).unwrap_or(&event.at_ms);
                    verdict.longest_wait_ms = verdict.longest_wait_ms.max(event.at_ms - began);
                }
                Answer::Acknowledged { .. } => {}
                Answer::NotRecorded { .. } => verdict.refused += 1,
                Answer::Unknown { .. } => verdict.unknown += 1,
            },
            _ => {}
        }
    }
    verdict.acknowledged = acknowledged.len();
    verdict
}

pub(super) fn watchers_never_go_back(history: &[Event]) -> Vec<Violation> {
    let mut seen: HashMap<(usize, Uuid), (u64, u64, usize)> = HashMap::new();
    let mut wrong = Vec::new();
    for (place, event) in history.iter().enumerate() {
        let What::Shown { watcher, poll, epoch, version, totals } = &event.what else { continue };
        let before = seen.insert((*watcher, *poll), (*epoch, *version, place));
        let Some((old_epoch, old_version, old_place)) = before else { continue };
        // A new connection begins with a snapshot, which may be the one that was seen last: the same version, and the same totals.
        let same = (old_epoch, old_version) == (*epoch, *version);
        let changed = matches!(&history[old_place].what, What::Shown { totals: old, .. } if old != totals);
        if (*epoch, *version) < (old_epoch, old_version) || (same && changed) {
            let what = format!("watcher {watcher} saw ({epoch}, {version}) of poll {poll} after ({old_epoch}, {old_version})");
            wrong.push(Violation::at("watchers", what, vec![old_place, place]));
        }
    }
    wrong
}

/// What is shown is a state and not a change: a version has the same totals for everybody, and where nobody can change a vote, no
/// watcher sees fewer.
pub(super) fn what_is_shown_is_absolute(history: &[Event]) -> Vec<Violation> {
    let mut fixed = BTreeSet::new();
    let mut states: HashMap<(Uuid, u64, u64), (&Counted, usize)> = HashMap::new();
    let mut seen: HashMap<(usize, Uuid), (&Counted, usize)> = HashMap::new();
    let mut wrong = Vec::new();
    for (place, event) in history.iter().enumerate() {
        let (watcher, poll, epoch, version, totals) = match &event.what {
            What::Poll { poll, allow_change: false, .. } => {
                fixed.insert(*poll);
                continue;
            }
            What::Shown { watcher, poll, epoch, version, totals } => (*watcher, *poll, *epoch, *version, totals),
            _ => continue,
        };
        let (state, state_place) = *states.entry((poll, epoch, version)).or_insert((totals, place));
        if state != totals {
            let what = format!("version ({epoch}, {version}) of poll {poll} is {totals:?} for one and {state:?} for another");
            wrong.push(Violation::at("states", what, vec![state_place, place]));
        }
        let before = seen.insert((watcher, poll), (totals, place)).filter(|_| fixed.contains(&poll));
        if let Some((old, old_place)) = before.filter(|(old, _)| old.votes.iter().zip(&totals.votes).any(|(old, new)| new < old))
        {
            let what =
                format!("watcher {watcher} saw {totals:?} of poll {poll} after {old:?}, and nobody can change a vote there");
            wrong.push(Violation::at("states", what, vec![old_place, place]));
        }
    }
    wrong
}

/// Who has sent a vote in a poll, and for which options.
#[derive(Default)]
struct Senders<'a> {
    voters: HashSet<&'a str>,
    options: BTreeMap<u8, HashSet<&'a str>>,
}

/// At no time is more shown or kept than was sent until then.
pub(super) fn nothing_is_shown_that_was_not_sent(history: &[Event]) -> Vec<Violation> {
    let mut sent: HashMap<Uuid, Senders<'_>> = HashMap::new();
    let mut wrong = Vec::new();
    for (place, event) in history.iter().enumerate() {
        let (poll, totals) = match &event.what {
            What::Sent { ballot, .. } => {
                let Senders { voters, options } = sent.entry(ballot.poll).or_default();
                for &choice in &ballot.choices {
                    voters.insert(&ballot.voter);
                    options.entry(choice).or_default().insert(&ballot.voter);
                }
                continue;
            }
            What::Shown { poll, totals, .. } => (poll, totals),
            What::Audited { poll, kept, .. } => (poll, kept),
            _ => continue,
        };
        let Senders { voters, options } = sent.entry(*poll).or_default();
        let most = |option: usize| u8::try_from(option + 1).ok().and_then(|option| options.get(&option)).map_or(0, HashSet::len);
        let too_many = totals.votes.iter().enumerate().any(|(option, votes)| *votes > most(option) as u64);
        if too_many || totals.voters > voters.len() as u64 {
            let what = format!("poll {poll} had {totals:?} when only {} voters had sent a vote", voters.len());
            wrong.push(Violation::at("bounds", what, vec![place]));
        }
    }
    wrong
}

/// At every commit the tally is the sum of the rows; and where nobody can change a vote, it only grows.
pub(super) fn the_store_is_right_at_every_moment(history: &[Event]) -> Vec<Violation> {
    let mut fixed = BTreeSet::new();
    let mut before: HashMap<Uuid, (&Counted, usize)> = HashMap::new();
    let mut wrong = Vec::new();
    for (place, event) in history.iter().enumerate() {
        match &event.what {
            What::Poll { poll, allow_change: false, .. } => {
                fixed.insert(*poll);
            }
            What::Audited { poll, kept, rows } => {
                if kept != rows {
                    let what = format!("poll {poll}: the rows add up to {rows:?}, and the tally is {kept:?}");
                    wrong.push(Violation::at("audit", what, vec![place]));
                }
                let last = before.insert(*poll, (kept, place));
                if let Some((old, old_place)) = last.filter(|_| fixed.contains(poll))
                    && old.votes.iter().zip(&kept.votes).any(|(old, new)| new < old)
                {
                    let what = format!("poll {poll}: nobody can change a vote, and {old:?} became {kept:?}");
                    wrong.push(Violation::at("audit", what, vec![old_place, place]));
                }
            }
            _ => {}
        }
    }
    wrong
}

pub(super) fn everything_comes_right_by_itself(history: &[Event]) -> Vec<Violation> {
    let wrong = history.iter().enumerate().filter_map(|(place, event)| {
        let what = match &event.what {
            What::Recovered { what, after_ms: None } => format!("{what} did not come right"),
            What::Ended { program, status } => format!("{program} ended by itself: {status}"),
            What::Said { program, line } => format!("{program} said: {line}"),
            _ => return None,
        };
        Some(Violation::at("liveness", what, vec![place]))
    });
    wrong.collect()
}

/// Watchers who were not last shown these tallies, or nothing of a poll that they watch.
#[must_use]
pub fn every_watcher_sees_the_end(history: &[Event], tallies: &BTreeMap<Uuid, Counted>) -> Vec<Violation> {
    let mut last: BTreeMap<(usize, Uuid), (usize, Option<&Counted>)> = BTreeMap::new();
    for (place, event) in history.iter().enumerate() {
        match &event.what {
            What::Watching { watcher, polls } => last.extend(polls.iter().map(|poll| ((*watcher, *poll), (place, None)))),
            What::Shown { watcher, poll, totals, .. } => {
                last.insert((*watcher, *poll), (place, Some(totals)));
            }
            _ => {}
        }
    }
    let differs = last.iter().filter(|((_, poll), (_, shown))| shown.is_none() || tallies.get(poll) != *shown);
    let say = |((watcher, poll), (place, shown)): (&(usize, Uuid), &(usize, Option<&Counted>))| {
        let what = format!("watcher {watcher} last saw {shown:?} of poll {poll}, and the end is {:?}", tallies.get(poll));
        Violation::at("convergence", what, vec![*place])
    };
    differs.map(say).collect()
}
