//! The votes to send, made before the first is sent: who, where, what, in which order.

use polling_core::model::{Choices, OptionId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::arguments::Arguments;

/// How far behind its first vote a voter's next one stands in the plan, at least: far enough to be answered by then, so
/// that waiting for it is rare.
const FOLLOW_DISTANCE: usize = 1000;

/// One request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedVote {
    /// Which of the polls.
    pub(crate) poll: u16,
    /// Which of the voters.
    pub(crate) voter: u32,
    /// What it chooses.
    pub(crate) choices: Choices,
    /// The name of the vote: that of an earlier one when it is sent again.
    pub(crate) vote_id: Uuid,
    /// The place in the plan of the vote of the same voter that must be answered before.
    pub(crate) follows: Option<usize>,
}

/// Everything that is to be sent.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order of sending.
    pub(crate) votes: Vec<PlannedVote>,
    /// When each is due, in seconds after the start; absent: whenever there is room.
    pub(crate) due: Due,
    pub(crate) voters: Voters,
    /// Options that a poll needs to take all of the votes.
    pub(crate) options: u8,
    /// Choices that a poll needs to allow.
    pub(crate) max_choices: u8,
}

/// When votes are due.
#[derive(Debug)]
pub(crate) enum Due {
    /// When a connection is free.
    AtOnce,
    /// So many a second.
    Rate(f64),
    /// At these seconds after the start, ascending.
    Recorded(Vec<f64>),
}

impl Due {
    /// Seconds after the start; `None`: when a connection is free.
    pub(crate) fn seconds(&self, index: usize) -> Option<f64> {
        match self {
            Self::AtOnce => None,
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 votes")]
            Self::Rate(rate) => Some(index as f64 / rate),
            Self::Recorded(seconds) => seconds.get(index).copied(),
        }
    }
}

/// What voters are called.
#[derive(Debug)]
pub(crate) enum Voters {
    /// By number.
    Numbered {
        /// The seed is part of the name, so that another seed brings other people.
        seed: u64,
        count: u32,
    },
    /// As in the file of ballots.
    Named(Vec<String>),
}

impl Voters {
    pub(crate) fn name(&self, voter: u32) -> String {
        match self {
            Self::Numbered { seed, .. } => format!("crowd-{seed}-{voter}"),
            Self::Named(names) => names[voter as usize].clone(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Numbered { count, .. } => *count as usize,
            Self::Named(names) => names.len(),
        }
    }
}

impl Plan {
    /// Makes up votes from the seed.
    pub(crate) fn seeded(arguments: &Arguments, polls: u16, options: u8, max_choices: u8) -> Self {
        let mut random = SmallRng::seed_from_u64(arguments.seed);
        let mut votes: Vec<(usize, PlannedVote)> = Vec::with_capacity(arguments.voters as usize);
        // The order key of an extra vote puts it behind the first one of its voter; the sort below interleaves them.
        for voter in 0..arguments.voters {
            let place = voter as usize;
            let poll = u16::try_from(voter % u32::from(polls)).unwrap_or(0);
            let first = PlannedVote {
                poll,
                voter,
                choices: choose(&mut random, options, max_choices),
                vote_id: vote_id(&mut random),
                follows: None,
            };
            votes.push((place, first));
            if random.random_bool(arguments.resends) {
                votes.push((place + FOLLOW_DISTANCE, first));
            }
            if random.random_bool(arguments.duplicates.max(arguments.changes)) {
                let choices = choose(&mut random, options, max_choices);
                let again = PlannedVote { choices, vote_id: vote_id(&mut random), ..first };
                votes.push((place + 2 * FOLLOW_DISTANCE, again));
            }
        }
        votes.sort_by_key(|(order, _)| *order);
        let votes = chained(votes.into_iter().map(|(_, vote)| vote), arguments.voters as usize);
        let voters = Voters::Numbered { seed: arguments.seed, count: arguments.voters };
        let due = arguments.rate.map_or(Due::AtOnce, Due::Rate);
        Self { votes, due, voters, options, max_choices }
    }
}

/// Links each vote to the one of the same voter before it.
pub(crate) fn chained(votes: impl Iterator<Item = PlannedVote>, voters: usize) -> Vec<PlannedVote> {
    let mut last_of: Vec<Option<usize>> = vec![None; voters];
    votes.enumerate().map(|(index, vote)| PlannedVote { follows: last_of[vote.voter as usize].replace(index), ..vote }).collect()
}

/// A random name for a vote.
pub(crate) fn vote_id(random: &mut SmallRng) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}

/// Some options, the first ones more often: a poll where all come out even looks like a broken one.
fn choose(random: &mut SmallRng, options: u8, max_choices: u8) -> Choices {
    let wanted = usize::from(random.random_range(1..=max_choices.min(options).max(1)));
    let mut chosen: Vec<OptionId> = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let index = usize::from(random.random_range(0..options).min(random.random_range(0..options)));
        chosen.extend(OptionId::from_index(index).filter(|option| !chosen.contains(option)));
    }
    Choices::new(chosen).expect("distinct options, at least one")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = Arguments::parse_from(std::iter::once(&"crowd").chain(arguments));
        Plan::seeded(&arguments, arguments.polls, arguments.options, arguments.max_choices)
    }

    #[test]
    fn the_same_seed_sends_the_same_votes() {
        let first = plan(&["--resends", "0.2", "--duplicates", "0.2", "--seed", "1"]);
        assert_eq!(first.votes, plan(&["--resends", "0.2", "--duplicates", "0.2", "--seed", "1"]).votes);
        assert_ne!(first.votes, plan(&["--resends", "0.2", "--duplicates", "0.2", "--seed", "2"]).votes);
    }

    #[test]
    fn a_voters_votes_are_a_chain() {
        let plan = plan(&["--resends", "1", "--duplicates", "1", "--max-choices", "3"]);
        assert_eq!(plan.votes.len(), 3000);
        for (index, vote) in plan.votes.iter().enumerate() {
            if let Some(before) = vote.follows {
                assert!(before < index);
                assert_eq!(plan.votes[before].voter, vote.voter);
            }
        }
        assert_eq!(plan.votes.iter().filter(|vote| vote.follows.is_none()).count(), 1000);
    }
}
