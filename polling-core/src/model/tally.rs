//! Totals, and the definition of counting that every store is held against.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::Outcome;
use super::poll::{Poll, PollId, PollState};
use super::rule::Resolution;
use super::vote::{Choices, Vote, VoteId, VoteKind, VoterKey};

/// How new a state of a poll is. Compares by epoch first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Changes only when the store's history may have gone back.
    pub epoch: u64,
    /// Grows with every change of the poll's tally or definition.
    pub number: u64,
}

/// The votes of a poll, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Voters with a counted vote.
    pub voters: u64,
    /// For each option, in the poll's order, how many counted votes choose it.
    pub votes: Vec<u64>,
}

impl Totals {
    /// Nothing counted yet.
    #[must_use]
    pub fn zero(options: usize) -> Self {
        Self { voters: 0, votes: vec![0; options] }
    }

    /// Takes a standing vote out and puts another in; `None` for none.
    ///
    /// # Panics
    ///
    /// When `out` was never put in, or a choice is beyond the options: a tally that would be wrong is worse than none.
    pub fn replace(&mut self, out: Option<Choices>, into: Option<Choices>) {
        if let Some(choices) = out {
            self.voters = self.voters.checked_sub(1).expect("a vote taken out was put in before");
            for option in choices.iter() {
                let votes = &mut self.votes[option.index()];
                *votes = votes.checked_sub(1).expect("a vote taken out was put in before");
            }
        }
        if let Some(choices) = into {
            self.voters += 1;
            for option in choices.iter() {
                self.votes[option.index()] += 1;
            }
        }
    }
}

/// The totals of a poll at a version. Absolute: whoever has the newer one needs no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The poll.
    pub poll: PollId,
    /// Which state of the poll this is.
    pub version: Version,
    /// The totals.
    pub totals: Totals,
}

/// Counts a whole history: the definition, written for reading and not for speed.
///
/// `polls` are the polls as they are in the end, with their close times; `votes` are in the order of the log. The answer has
/// the totals of every poll and, for each vote, what is known of it in the end. A store must come to the same, however the votes
/// were cut into batches and whatever failed on the way.
#[must_use]
pub fn count(polls: &BTreeMap<PollId, Poll>, votes: &[Vote]) -> (BTreeMap<PollId, Totals>, Vec<Resolution>) {
    let mut totals: BTreeMap<PollId, Totals> = polls.iter().map(|(&id, poll)| (id, Totals::zero(poll.options.len()))).collect();
    let mut resolutions = vec![Resolution { outcome: Outcome::Invalid, kind: None }; votes.len()];
    let voters: BTreeSet<(PollId, VoterKey)> = votes.iter().map(|vote| (vote.poll, vote.voter)).collect();
    for (poll_id, voter) in voters {
        let Some(poll) = polls.get(&poll_id) else { continue };
        let own: Vec<usize> =
            (0..votes.len()).filter(|&index| votes[index].poll == poll_id && votes[index].voter == voter).collect();
        let standing = count_voter(poll, votes, &own, &mut resolutions);
        if let (Some(choices), Some(totals)) = (standing, totals.get_mut(&poll_id)) {
            totals.replace(None, Some(choices));
        }
    }
    (totals, resolutions)
}

/// Walks through the votes of one voter in one poll; answers what stands in the end.
fn count_voter(poll: &Poll, votes: &[Vote], own: &[usize], resolutions: &mut [Resolution]) -> Option<Choices> {
    let mut first_of: BTreeMap<VoteId, usize> = BTreeMap::new();
    let mut standing: Option<(usize, Option<Choices>)> = None;
    let mut repeats = Vec::new();
    for &index in own {
        let vote = &votes[index];
        if let Some(&first) = first_of.get(&vote.id) {
            repeats.push((index, first));
            continue;
        }
        let fits = match vote.kind {
            VoteKind::Cast(choices) => {
                choices.len() <= usize::from(poll.max_choices) && choices.iter().all(|option| option.index() < poll.options.len())
            }
            VoteKind::Retract => poll.allow_change,
        };
        let state = poll.state(vote.accepted_at);
        let something_to_retract = standing.is_some_and(|(_, choices)| choices.is_some());
        let outcome = if standing.is_some() && !poll.allow_change {
            Outcome::Duplicate
        } else if state == PollState::Closed {
            Outcome::Late
        } else if state == PollState::Scheduled || !fits || (vote.kind == VoteKind::Retract && !something_to_retract) {
            Outcome::Invalid
        } else {
            Outcome::Counted
        };
        first_of.insert(vote.id, index);
        let is_kept = !matches!(outcome, Outcome::Duplicate | Outcome::Late);
        resolutions[index] = Resolution { outcome, kind: is_kept.then_some(vote.kind) };
        if outcome == Outcome::Counted {
            if let Some((before, Some(_))) = standing {
                resolutions[before].outcome = Outcome::Superseded;
            }
            standing = Some((index, vote.kind.choices()));
        }
    }
    for (index, first) in repeats {
        resolutions[index] = resolutions[first];
    }
    standing.and_then(|(_, choices)| choices)
}
