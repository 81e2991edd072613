//! Polls and votes for tests: short to write, and the same in every run.

use uuid::Uuid;

use crate::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch};
use crate::clock::Timestamp;
use crate::model::{Choices, OptionId, OwnerKey, Poll, PollDraft, Vote, VoteId, VoteKind, VoterKey};

/// The point in time at which tests begin: 15 January 2027.
pub const NOW: Timestamp = match Timestamp::from_micros(1_800_000_000_000_000) {
    Some(now) => now,
    None => Timestamp::MIN,
};

/// So many seconds after [`NOW`].
#[must_use]
pub fn at(seconds: u64) -> Timestamp {
    NOW.saturating_add(std::time::Duration::from_secs(seconds))
}

/// A poll with so many options, created at [`NOW`], after `change` has had its way with the draft.
///
/// # Panics
///
/// When the changed draft breaks a rule.
#[must_use]
pub fn poll(options: usize, change: impl FnOnce(&mut PollDraft)) -> Poll {
    let mut draft = PollDraft {
        question: "Which one?".to_owned(),
        options: (1..=options).map(|number| format!("option {number}")).collect(),
        ..PollDraft::default()
    };
    change(&mut draft);
    draft.into_poll(OwnerKey([0; 32]), NOW).expect("the draft keeps the rules")
}

/// The key of the voter with this number.
#[must_use]
pub fn voter(number: u32) -> VoterKey {
    let mut key = [0; 16];
    key[12..].copy_from_slice(&number.to_be_bytes());
    VoterKey(key)
}

/// The vote id with this number.
#[must_use]
pub fn vote_id(number: u32) -> VoteId {
    VoteId(Uuid::from_u128(u128::from(number)))
}

/// A set of options.
///
/// # Panics
///
/// When it is not one.
#[must_use]
pub fn choices(options: &[u64]) -> Choices {
    Choices::new(options.iter().map(|&number| OptionId::new(number).expect("an option"))).expect("a set")
}

/// A vote accepted at [`NOW`].
#[must_use]
pub fn cast(poll: &Poll, voter_number: u32, id: u32, options: &[u64]) -> Vote {
    let kind = VoteKind::Cast(choices(options));
    Vote { poll: poll.id, voter: voter(voter_number), id: vote_id(id), accepted_at: NOW, kind }
}

/// A retraction accepted at [`NOW`].
#[must_use]
pub fn retract(poll: &Poll, voter_number: u32, id: u32) -> Vote {
    Vote { poll: poll.id, voter: voter(voter_number), id: vote_id(id), accepted_at: NOW, kind: VoteKind::Retract }
}

/// Votes of partition 0 from this offset on.
///
/// # Panics
///
/// When the offset cannot be named.
#[must_use]
pub fn batch(first: u64, votes: &[Vote]) -> Batch {
    Batch::single(part(0, first, votes))
}

/// Votes of a partition from this offset on.
///
/// # Panics
///
/// When the offset cannot be named.
#[must_use]
pub fn part(partition: u32, first: u64, votes: &[Vote]) -> PartitionBatch {
    let first = i64::try_from(first).ok().and_then(Offset::new).expect("an offset");
    let entries = votes.iter().copied().map(Entry::Vote).collect();
    PartitionBatch { partition: Partition(partition), first, entries, last: None }
}
