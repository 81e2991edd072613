//! What the benches of the stores share: polls, and votes that are spread over them, the same in every run.

pub(crate) mod leaders;

use polling_core::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch};
use polling_core::clock::Timestamp;
use polling_core::model::{Choices, OptionId, OwnerKey, Poll, PollDraft, Vote, VoteId, VoteKind, VoterKey};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Options of each poll.
pub(crate) const OPTIONS: usize = 4;

/// When everything happens.
fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000).expect("in range")
}

/// New polls.
pub(crate) fn polls(count: usize) -> Vec<Poll> {
    let draft = |number| PollDraft {
        question: format!("Which one of these would you like, for the {number}th time?"),
        options: (1..=OPTIONS).map(|option| format!("The option {option}")).collect(),
        ..PollDraft::default()
    };
    (0..count).map(|number| draft(number).into_poll(OwnerKey([0; 32]), now()).expect("sound")).collect()
}

/// Batches of votes of new voters, for any poll and option alike.
pub(crate) fn batches(polls: &[Poll], batch_votes: usize, count: usize) -> Vec<Batch> {
    let mut random = StdRng::seed_from_u64(7);
    let mut vote = || Vote {
        poll: polls[random.random_range(0..polls.len())].id,
        voter: VoterKey(random.random()),
        id: VoteId(Uuid::from_u128(random.random())),
        accepted_at: now(),
        kind: VoteKind::Cast(Choices::single(OptionId::from_index(random.random_range(0..OPTIONS)).expect("an option"))),
    };
    (0..count)
        .map(|number| {
            let entries = (0..batch_votes).map(|_| Entry::Vote(vote())).collect();
            Batch::single(PartitionBatch {
                partition: Partition(0),
                first: Offset::ZERO.plus(number * batch_votes),
                entries,
                last: None,
            })
        })
        .collect()
}

/// The votes of a batch.
pub(crate) fn votes_of(batch: &Batch) -> impl Iterator<Item = &Vote> {
    batch.positioned().filter_map(|(_, entry)| match entry {
        Entry::Vote(vote) => Some(vote),
        Entry::DeadLetter(_) => None,
    })
}

/// The value at this share of all, 0 for the least and 1 for the greatest.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
