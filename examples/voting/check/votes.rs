//! Each vote has the outcome that it must have, each voter one row, and the tallies are the rows.

use std::collections::BTreeMap;

use polling_core::model::Outcome;
use uuid::Uuid;

use super::expected::Expected;
use super::verdict::Violation;
use crate::history::{Counted, Final, Row};

/// Acknowledged votes that are not in the log, or that the log counts and the store does not have.
pub(super) fn lost(expected: &Expected, state: &Final) -> Vec<Violation> {
    let rows: BTreeMap<(Uuid, Uuid), &Row> = state.rows.iter().map(|row| ((row.poll, row.voter), row)).collect();
    let mut lost = Vec::new();
    let acknowledged = |vote_id: &Uuid| expected.sent.get(vote_id).is_some_and(|attempts| attempts.acknowledged > 0);
    for (vote_id, _) in expected.sent.iter().filter(|(vote_id, _)| acknowledged(vote_id)) {
        if !expected.outcomes.contains_key(vote_id) {
            lost.push(Violation::of("lost", format!("vote {vote_id} was acknowledged and is not in the log"), *vote_id));
        }
    }
    for (voter, standing) in &expected.standing {
        let has = rows.get(voter).is_some_and(|row| row.vote_id == standing.vote_id);
        if !has && acknowledged(&standing.vote_id) {
            let what = format!(
                "vote {} was acknowledged, stands in the log at {}:{}, and the store does not have it",
                standing.vote_id, standing.partition, standing.offset
            );
            lost.push(Violation::of("lost", what, standing.vote_id));
        }
    }
    lost
}

/// Votes in the tallies beyond those that the log gives, and rows beyond one of a voter.
pub(super) fn twice(expected: &Expected, state: &Final) -> u64 {
    let mut twice = 0;
    for (poll, kept) in &state.tallies {
        let due = expected.tallies.get(poll).cloned().unwrap_or_default();
        let places = kept.votes.iter().enumerate();
        let more: u64 = places.map(|(place, votes)| votes.saturating_sub(due.votes.get(place).copied().unwrap_or(0))).sum();
        twice += more.max(kept.voters.saturating_sub(due.voters));
    }
    let voters: BTreeMap<(Uuid, Uuid), u64> = state.rows.iter().fold(BTreeMap::new(), |mut voters, row| {
        *voters.entry((row.poll, row.voter)).or_default() += 1;
        voters
    });
    twice + voters.values().map(|rows| rows - 1).sum::<u64>()
}

pub(super) fn receipts_tell_the_outcome(expected: &Expected, state: &Final) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (vote_id, status) in &state.receipts {
        let due = expected.outcomes.get(vote_id).copied().map(Outcome::as_str);
        if due != Some(status) {
            let what = format!("the receipt of vote {vote_id} says {status:?}, and it must be {due:?}");
            wrong.push(Violation::of("receipts", what, *vote_id));
        }
    }
    wrong
}

pub(super) fn nothing_is_recorded_that_was_refused(expected: &Expected, _: &Final) -> Vec<Violation> {
    let refused = expected.sent.iter().filter(|(_, attempts)| attempts.may_be_recorded == 0);
    refused
        .filter(|(vote_id, _)| expected.outcomes.contains_key(vote_id))
        .map(|(vote_id, _)| {
            Violation::of("refused", format!("vote {vote_id} was never taken by its answers, and is in the log"), *vote_id)
        })
        .collect()
}

pub(super) fn nothing_is_recorded_that_was_not_sent(expected: &Expected, state: &Final) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for record in &state.log {
        let place = format!("the record at {}:{}", record.partition, record.offset);
        let is_foreign = expected.foreign.contains(&(record.partition, record.offset));
        let vote = match &record.vote {
            Some(vote) if !is_foreign => vote,
            None if is_foreign => continue,
            Some(_) => {
                wrong.push(Violation::new("recorded", format!("{place} is no vote, and was read as one")));
                continue;
            }
            None => {
                wrong.push(Violation::new("recorded", format!("{place} cannot be read")));
                continue;
            }
        };
        let ballot = expected.sent.get(&vote.vote_id).and_then(|attempts| attempts.ballot.as_ref());
        if ballot.is_none_or(|ballot| (ballot.poll, &ballot.choices) != (vote.poll, &vote.choices)) {
            wrong.push(Violation::of("recorded", format!("{place} is not what was sent: {ballot:?}"), vote.vote_id));
        }
    }
    wrong
}

pub(super) fn each_voter_has_the_row_that_the_log_gives(expected: &Expected, state: &Final) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut rows: BTreeMap<(Uuid, Uuid), &Row> = BTreeMap::new();
    for row in &state.rows {
        if let Some(other) = rows.insert((row.poll, row.voter), row) {
            let votes = vec![other.vote_id, row.vote_id];
            let what = format!("voter {} of poll {} has two rows", row.voter, row.poll);
            wrong.push(Violation { votes, ..Violation::new("rows", what) });
        }
        let has = expected.standing.get(&(row.poll, row.voter)).is_some_and(|standing| {
            (standing.vote_id, standing.partition, standing.offset, &standing.choices)
                == (row.vote_id, row.partition, row.offset, &row.choices)
        });
        if !has {
            let due = expected.standing.get(&(row.poll, row.voter));
            wrong.push(Violation::of("rows", format!("{row:?} is not what the log gives: {due:?}"), row.vote_id));
        }
    }
    for ((poll, voter), standing) in &expected.standing {
        if !rows.contains_key(&(*poll, *voter)) {
            wrong.push(Violation::of("rows", format!("there is no row for {standing:?}"), standing.vote_id));
        }
    }
    wrong
}

pub(super) fn the_tallies_are_those_of_the_rows(expected: &Expected, state: &Final) -> Vec<Violation> {
    let mut sums: BTreeMap<Uuid, Counted> = expected.tallies.clone();
    for sum in sums.values_mut() {
        *sum = Counted { voters: 0, votes: vec![0; sum.votes.len()] };
    }
    for row in &state.rows {
        if let Some(sum) = sums.get_mut(&row.poll) {
            sum.add(&row.choices);
        }
    }
    compare("rows and tallies", "the sum of the rows", &sums, "the store", &state.tallies)
}

pub(super) fn the_tallies_are_those_of_the_log(expected: &Expected, state: &Final) -> Vec<Violation> {
    compare("log and tallies", "the log", &expected.tallies, "the store", &state.tallies)
}

pub(super) fn every_server_shows_the_tallies(expected: &Expected, state: &Final) -> Vec<Violation> {
    let servers = state.shown.iter().enumerate();
    let wrong =
        servers.map(|(server, shown)| compare("servers", "the log", &expected.tallies, &format!("server {}", server + 1), shown));
    wrong.flatten().collect()
}

fn compare(
    check: &'static str,
    one: &str,
    due: &BTreeMap<Uuid, Counted>,
    other: &str,
    shown: &BTreeMap<Uuid, Counted>,
) -> Vec<Violation> {
    let differs = due.iter().filter(|(poll, due)| shown.get(poll) != Some(due));
    let say = |(poll, due): (&Uuid, &Counted)| {
        Violation::new(check, format!("poll {poll}: {one} gives {due:?}, {other} has {:?}", shown.get(poll)))
    };
    differs.map(say).collect()
}
