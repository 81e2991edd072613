//! What a batch does to ballots and tallies: the part of `apply` that every store shares. Pure, so it cannot half happen.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::{Batch, Entry, Partition, Position};
use crate::clock::Timestamp;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::model::Tally;
use crate::model::{
    Ballot, Choices, Decision, Outcome, OutcomeCounts, PastVote, Poll, PollId, PollState, StandingVote, Vote, VoteKind, VoterKey,
    decide,
};

/// The ballots that a batch may touch.
pub(crate) type Ballots = HashMap<(PollId, VoterKey), Ballot>;

/// What a batch changed.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    /// The outcome of each entry at the end of the batch, in the order of [`Batch::positioned`].
    pub(crate) outcomes: Vec<Outcome>,
    /// Which entries ask for something else than the first vote with their id, ascending.
    pub(crate) conflicts: Vec<usize>,
    /// What is added to the counts beside each partition's checkpoint.
    pub(crate) counts: BTreeMap<Partition, OutcomeCounts>,
    /// What is added to the tally of each poll whose tally changes.
    pub(crate) deltas: BTreeMap<PollId, TallyDelta>,
    /// For each poll, the latest acceptance time of a vote that was in time: a close must not come before it.
    pub(crate) accepted: BTreeMap<PollId, Timestamp>,
}

/// What is added to the tally of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TallyDelta {
    /// To the voters with a counted vote.
    pub(crate) voters: i64,
    /// To the votes of each option, in the poll's order.
    pub(crate) votes: Vec<i64>,
}

impl TallyDelta {
    fn add(&mut self, choices: Option<Choices>, sign: i64) {
        if let Some(choices) = choices {
            self.voters += sign;
            choices.iter().for_each(|option| self.votes[option.index()] += sign);
        }
    }

    /// Adds to a tally, which gets a new version. `Err` says what is wrong with what the store held.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn add_to(&self, tally: &mut Tally) -> Result<(), String> {
        tally.version.number += 1;
        tally.totals.voters = added(tally.totals.voters, self.voters)?;
        for (votes, &change) in tally.totals.votes.iter_mut().zip(&self.votes) {
            *votes = added(*votes, change)?;
        }
        Ok(())
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn added(total: u64, delta: i64) -> Result<u64, String> {
    let sum = total.checked_add_signed(delta).filter(|sum| i64::try_from(*sum).is_ok());
    sum.ok_or_else(|| "a tally is not the number of its votes".to_owned())
}

/// Decides every vote of the batch in order and writes the decisions into `ballots`.
///
/// `poll_of` finds a poll that takes votes: one that exists and is not archived. A ballot that is absent is empty.
pub(crate) fn settle<'a>(batch: &Batch, poll_of: impl Fn(PollId) -> Option<&'a Poll>, ballots: &mut Ballots) -> Settlement {
    let mut settlement = Settlement { outcomes: Vec::with_capacity(batch.len()), ..Settlement::default() };
    let mut displaced_any = false;
    for part in batch.parts() {
        let mut counts = OutcomeCounts::default();
        for (position, entry) in part.positioned() {
            let outcome = match entry {
                Entry::DeadLetter(_) => {
                    counts.invalid += 1;
                    Outcome::Invalid
                }
                Entry::Vote(vote) => {
                    let decision = settle_vote(vote, position, poll_of(vote.poll), ballots, &mut settlement);
                    add_to_counts(&mut counts, &decision);
                    if matches!(decision, Decision::Repeat { same: false, .. }) {
                        settlement.conflicts.push(settlement.outcomes.len());
                    }
                    displaced_any |= matches!(decision, Decision::Stand { displaced: Some(_), .. });
                    decision.outcome()
                }
            };
            settlement.outcomes.push(outcome);
        }
        settlement.counts.insert(part.partition, counts);
    }
    if displaced_any {
        settlement.outcomes = outcomes_at_the_end(batch, ballots, settlement.outcomes);
    }
    settlement
}

fn settle_vote(
    vote: &Vote,
    position: Position,
    poll: Option<&Poll>,
    ballots: &mut Ballots,
    settlement: &mut Settlement,
) -> Decision {
    let slot = ballots.entry((vote.poll, vote.voter));
    let decision = match &slot {
        MapEntry::Occupied(ballot) => decide(poll, ballot.get(), vote),
        MapEntry::Vacant(_) => decide(poll, &Ballot::default(), vote),
    };
    if let Some(poll) = poll.filter(|poll| poll.state(vote.accepted_at) == PollState::Open) {
        let latest = settlement.accepted.entry(poll.id).or_insert(vote.accepted_at);
        *latest = vote.accepted_at.max(*latest);
    }
    match decision {
        Decision::Repeat { .. } | Decision::Refuse(_) => {}
        // Without a poll there is nothing to hang the ballot on; `decide` rejects only for a poll that exists.
        Decision::Reject => {
            slot.or_default().past.insert(vote.id, PastVote { kind: vote.kind, outcome: Outcome::Invalid });
        }
        Decision::Stand { choices, displaced } => {
            let ballot = slot.or_default();
            let before = ballot.current.replace(StandingVote { id: vote.id, choices, position });
            if let Some((standing, outcome)) = displaced {
                ballot.past.insert(standing.id, PastVote { kind: VoteKind::of(standing.choices), outcome });
            }
            if let Some(poll) = poll {
                let delta = settlement
                    .deltas
                    .entry(poll.id)
                    .or_insert_with(|| TallyDelta { voters: 0, votes: vec![0; poll.options.len()] });
                delta.add(before.and_then(|standing| standing.choices), -1);
                delta.add(choices, 1);
            }
        }
    }
    decision
}

const fn add_to_counts(counts: &mut OutcomeCounts, decision: &Decision) {
    match decision {
        Decision::Repeat { .. } => counts.repeated += 1,
        Decision::Refuse(Outcome::Duplicate) => counts.duplicate += 1,
        Decision::Refuse(Outcome::Late) => counts.late += 1,
        Decision::Refuse(_) | Decision::Reject => counts.invalid += 1,
        Decision::Stand { displaced, .. } => {
            counts.counted += 1;
            if let Some((_, Outcome::Superseded)) = displaced {
                counts.superseded += 1;
            }
        }
    }
}

/// A vote that a later entry of the same batch displaced has another outcome at the end than when it was decided.
fn outcomes_at_the_end(batch: &Batch, ballots: &Ballots, decided: Vec<Outcome>) -> Vec<Outcome> {
    let past = |entry: &Entry| match entry {
        Entry::Vote(vote) => ballots.get(&(vote.poll, vote.voter))?.past.get(&vote.id),
        Entry::DeadLetter(_) => None,
    };
    batch.positioned().zip(decided).map(|((_, entry), outcome)| past(entry).map_or(outcome, |vote| vote.outcome)).collect()
}
