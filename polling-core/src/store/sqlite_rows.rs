//! Between the rows of the `SQLite` store and values: a poll as columns, and many rows as one parameter. Pure.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::PollSnapshot;
use super::rows::{KeptPast, KeptPoll, optional_time, vote_at, votes_of};
use super::settle::{Ballots, Settlement, TallyDelta};
use crate::checkpoint::Batch;
use crate::clock::Timestamp;
use crate::model::{Ballot, Choices, OutcomeCounts, OwnerKey, Poll, PollId, PollParts, ResultsVisibility};
use crate::model::{StandingVote, Tally, Totals, Version, VoteId, VoterKey};

/// The columns of a poll as the store hands them out.
#[derive(Debug)]
pub(super) struct PollRow {
    pub(super) number: i64,
    pub(super) id: Vec<u8>,
    pub(super) archived: bool,
    pub(super) version: i64,
    pub(super) voters: i64,
    pub(super) max_choices: i64,
    pub(super) allow_change: bool,
    pub(super) results: String,
    pub(super) opens_at: Option<i64>,
    pub(super) closes_at: Option<i64>,
    /// The next change of state that has no version yet.
    pub(super) transition_at: Option<i64>,
    pub(super) last_accepted_at: Option<i64>,
    pub(super) owner: Vec<u8>,
    pub(super) question: String,
    /// A JSON array of texts.
    pub(super) options: String,
    /// A JSON array of numbers, one for each option.
    pub(super) tally: String,
}

impl PollRow {
    /// Reads the columns; `None` when they do not make a poll, which only a damaged store can show.
    pub(super) fn read(self, epoch: u64) -> Option<KeptPoll> {
        let id = poll_id(&self.id)?;
        let options: Vec<String> = serde_json::from_str(&self.options).ok()?;
        let tally = tally(id, epoch, self.version, self.voters, &self.tally)?;
        if tally.totals.votes.len() != options.len() {
            return None;
        }
        let poll = Poll::from_parts(PollParts {
            id,
            question: self.question,
            options,
            max_choices: u8::try_from(self.max_choices).ok()?,
            allow_change: self.allow_change,
            results: ResultsVisibility::parse(&self.results)?,
            opens_at: optional_time(self.opens_at)?,
            closes_at: optional_time(self.closes_at)?,
            owner: OwnerKey(self.owner.try_into().ok()?),
        })?
        .awaiting(optional_time(self.transition_at)?);
        Some(KeptPoll {
            number: self.number,
            archived: self.archived,
            last_accepted_at: optional_time(self.last_accepted_at)?,
            snapshot: PollSnapshot { poll, tally },
        })
    }
}

/// Reads a tally; `votes` is a JSON array of numbers.
pub(super) fn tally(poll: PollId, epoch: u64, version: i64, voters: i64, votes: &str) -> Option<Tally> {
    let version = Version { epoch, number: u64::try_from(version).ok()? };
    let totals = Totals { voters: u64::try_from(voters).ok()?, votes: serde_json::from_str(votes).ok()? };
    Some(Tally { poll, version, totals })
}

/// Reads the identifier of a poll.
pub(super) fn poll_id(bytes: &[u8]) -> Option<PollId> {
    PollId::from_uuid(Uuid::from_slice(bytes).ok()?)
}

/// Reads the key of a voter.
pub(super) fn voter_key(bytes: &[u8]) -> Option<VoterKey> {
    bytes.try_into().ok().map(VoterKey)
}

/// Reads the name of a vote.
pub(super) fn vote_id(bytes: &[u8]) -> Option<VoteId> {
    Uuid::from_slice(bytes).ok().map(VoteId)
}

/// Digits of a number in a packed row: enough for every `i64` that is not negative.
const NUMBER_DIGITS: usize = 19;

/// Many rows as one parameter: a JSON array of strings, each the fields of a row in a fixed width.
///
/// Taking a field out by its place costs the database a fraction of finding it by name or index in an object or array, and
/// one parameter a fraction of thousands.
#[derive(Debug, Default)]
pub(super) struct PackedRows {
    /// ASCII.
    json: Vec<u8>,
    rows: u64,
}

impl PackedRows {
    /// Starts a row; its fields follow.
    pub(super) fn row(&mut self) -> &mut Self {
        self.json.extend_from_slice(if self.rows == 0 { b"[\"" } else { b"\",\"" });
        self.rows += 1;
        self
    }

    /// A field of bytes, two digits each.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for &byte in bytes {
            self.json.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self
    }

    /// A field of a number, which is not negative.
    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        debug_assert!(number >= 0, "a sign would shift the fields that follow");
        let mut digits = [b'0'; NUMBER_DIGITS];
        let mut rest = number.unsigned_abs();
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        self.json.extend_from_slice(&digits);
        self
    }

    /// How many rows there are.
    pub(super) const fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The parameter.
    pub(super) fn finish(mut self) -> String {
        self.json.extend_from_slice(if self.rows == 0 { b"[]" } else { b"\"]" });
        String::from_utf8(self.json).expect("ASCII is UTF-8")
    }
}

/// The polls that a batch names, each once.
pub(super) fn polls_of(batch: &Batch) -> Vec<PollId> {
    let mut ids: Vec<PollId> = votes_of(batch).map(|vote| vote.poll).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// These identifiers, packed for finding the polls.
pub(super) fn packed_ids(ids: &[PollId]) -> PackedRows {
    let mut packed = PackedRows::default();
    for id in ids {
        packed.row().bytes(id.as_uuid().as_bytes());
    }
    packed
}

/// The ballots of a batch that may be in the store, packed for finding them, in the order in which the store keeps them.
pub(super) fn ballots_to_find(
    batch: &Batch,
    polls: &HashMap<PollId, KeptPoll>,
    may_have_voted: impl Fn(i64, VoterKey) -> bool,
) -> PackedRows {
    let known = votes_of(batch).filter_map(|vote| Some((polls.get(&vote.poll)?.number, vote.voter)));
    let mut keys: Vec<(i64, VoterKey)> = known.filter(|&(number, voter)| may_have_voted(number, voter)).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut packed = PackedRows::default();
    for (number, voter) in keys {
        packed.row().number(number).bytes(&voter.0);
    }
    packed
}

/// The vote ids of a batch in those polls that keep any past ones, packed for finding them.
///
/// Only the ids that the batch names, and not all of the ballot: a voter who changes a vote endlessly must not make each
/// later batch slower.
pub(super) fn past_to_find(batch: &Batch, polls: &HashMap<PollId, KeptPoll>, with_past: &HashSet<i64>) -> PackedRows {
    let mut packed = PackedRows::default();
    if with_past.is_empty() {
        return packed;
    }
    let known = votes_of(batch).filter_map(|vote| Some((polls.get(&vote.poll)?.number, vote.voter, vote.id)));
    let mut keys: Vec<(i64, VoterKey, VoteId)> = known.filter(|(number, ..)| with_past.contains(number)).collect();
    keys.sort_unstable();
    keys.dedup();
    for (number, voter, id) in keys {
        packed.row().number(number).bytes(&voter.0).bytes(id.0.as_bytes());
    }
    packed
}

/// What a batch writes, packed, and the polls that it touches.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Votes of voters who had none.
    pub(super) new_votes: Vec<VoteRow>,
    /// Votes that take the place of others.
    pub(super) replacing_votes: Vec<VoteRow>,
    /// Number, voter, vote id, outcome, choices.
    pub(super) past: PackedRows,
    /// Number, option, votes.
    pub(super) options: PackedRows,
    /// Number, version, voters, latest acceptance time.
    pub(super) polls: PackedRows,
    /// Partition, and what is added to each of the counts beside its checkpoint.
    pub(super) counts: PackedRows,
    /// The polls of `polls`.
    pub(super) touched: Vec<TouchedPoll>,
    /// The polls of `past` by number.
    pub(super) with_past: Vec<i64>,
}

/// A vote or retraction as the store keeps it.
#[derive(Debug)]
pub(super) struct VoteRow {
    /// What stands for the poll.
    pub(super) poll: i64,
    pub(super) voter: VoterKey,
    pub(super) accepted_at: Timestamp,
    pub(super) standing: StandingVote,
}

/// A poll as it stands after a batch.
#[derive(Debug)]
pub(super) struct TouchedPoll {
    pub(super) tally: Tally,
    /// Whether the batch changed the tally.
    pub(super) is_changed: bool,
    pub(super) last_accepted_at: Timestamp,
}

/// What the store keeps already of the ballots of a batch.
#[derive(Debug, Default)]
pub(super) struct KeptVotes {
    /// Voters for whom a vote or retraction stands.
    pub(super) standing: HashSet<(PollId, VoterKey)>,
    pub(super) past: KeptPast,
}

/// What a settled batch writes: exactly the rows that it changed. `Err` says what is wrong with what the store held.
pub(super) fn changes(
    batch: &Batch,
    polls: &HashMap<PollId, KeptPoll>,
    ballots: &Ballots,
    kept: &KeptVotes,
    settlement: &Settlement,
) -> Result<Changes, String> {
    let mut changes = Changes::default();
    let known = ballots.iter().filter_map(|(&(poll, voter), ballot)| Some((polls.get(&poll)?.number, poll, voter, ballot)));
    let mut touched: Vec<(i64, PollId, VoterKey, &Ballot)> = known.collect();
    // In the order of the tables, so that neighbouring rows land on the same page.
    touched.sort_unstable_by_key(|&(number, _, voter, _)| (number, voter));
    for (number, poll, voter, ballot) in touched {
        if let Some((standing, vote)) = ballot.current.and_then(|standing| Some((standing, vote_at(batch, standing)?))) {
            let is_new = !kept.standing.contains(&(poll, voter));
            let votes = if is_new { &mut changes.new_votes } else { &mut changes.replacing_votes };
            votes.push(VoteRow { poll: number, voter, accepted_at: vote.accepted_at, standing });
        }
        for (id, past) in ballot.past.iter().filter(|(id, _)| !kept.past.contains(&(poll, voter, **id))) {
            let row = changes.past.row().number(number).bytes(&voter.0).bytes(id.0.as_bytes());
            row.number(past.outcome.code().into());
            row.bytes(&past.kind.choices().map(Choices::to_bytes).unwrap_or_default());
            changes.with_past.push(number);
        }
    }
    for (partition, counts) in &settlement.counts {
        let OutcomeCounts { counted, superseded, duplicate, late, invalid, repeated } = *counts;
        let row = changes.counts.row().number(partition.0.into());
        // At most the records of a batch, which a machine can hold, so the sign bit is never set.
        for count in [counted, superseded, duplicate, late, invalid, repeated] {
            row.number(count.cast_signed());
        }
    }
    // A vote can only be in time where there is a poll, and only one in time changes a tally.
    for (id, &accepted_at) in &settlement.accepted {
        let Some(kept) = polls.get(id) else { continue };
        change_poll(&mut changes, kept, settlement.deltas.get(id), accepted_at)?;
    }
    Ok(changes)
}

fn change_poll(changes: &mut Changes, kept: &KeptPoll, delta: Option<&TallyDelta>, accepted_at: Timestamp) -> Result<(), String> {
    let last_accepted_at = kept.last_accepted_at.map_or(accepted_at, |last| last.max(accepted_at));
    let mut tally = kept.snapshot.tally.clone();
    if let Some(delta) = delta {
        delta.add_to(&mut tally)?;
        for (option, (&votes, &change)) in (1..).zip(tally.totals.votes.iter().zip(&delta.votes)) {
            if change != 0 {
                changes.options.row().number(kept.number).number(option).number(votes.cast_signed());
            }
        }
    } else if kept.last_accepted_at == Some(last_accepted_at) {
        return Ok(());
    }
    let row = changes.polls.row().number(kept.number);
    row.number(tally.version.number.cast_signed()).number(tally.totals.voters.cast_signed()).number(last_accepted_at.as_micros());
    changes.touched.push(TouchedPoll { tally, is_changed: delta.is_some(), last_accepted_at });
    Ok(())
}
