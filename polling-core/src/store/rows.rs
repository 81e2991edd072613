//! What the stores that keep rows share: reading columns, and finding in a batch what they write. Pure.

use std::collections::HashSet;

use super::PollSnapshot;
use crate::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch, Position, RecordDigest};
use crate::clock::Timestamp;
use crate::model::VoterKey;
use crate::model::{Choices, HistorySum, OptionId, Outcome, PastVote, PollId, PollState, StandingVote, Vote, VoteId, VoteKind};

/// A poll as it stands in the store.
#[derive(Debug, Clone)]
pub(super) struct KeptPoll {
    /// What stands for the poll in the other tables.
    pub(super) number: i64,
    pub(super) archived: bool,
    pub(super) last_accepted_at: Option<Timestamp>,
    pub(super) snapshot: PollSnapshot,
}

/// Reads a time that may be absent; the outer `None` is for one that is out of range.
#[expect(clippy::option_option, reason = "absent and out of range are different, and both are ordinary here")]
pub(super) fn optional_time(micros: Option<i64>) -> Option<Option<Timestamp>> {
    micros.map_or(Some(None), |micros| Timestamp::from_micros(micros).map(Some))
}

/// Reads choices that are absent after a retraction; the outer `None` is for bytes that are not choices.
#[expect(clippy::option_option, reason = "absent and unreadable are different, and both are ordinary here")]
pub(super) fn optional_choices(bytes: Option<&[u8]>) -> Option<Option<Choices>> {
    bytes.map_or(Some(None), |bytes| Choices::from_bytes(bytes).map(Some))
}

/// Reads what a record is recognised by, which is absent from older rows; the outer `None` is for bytes that are no digest.
#[expect(clippy::option_option, reason = "absent and unreadable are different, and both are ordinary here")]
pub(super) fn optional_digest(bytes: Option<&[u8]>) -> Option<Option<RecordDigest>> {
    bytes.map_or(Some(None), |bytes| Some(Some(RecordDigest(bytes.try_into().ok()?))))
}

/// Reads a place in the log.
pub(super) fn position(partition: i64, offset: i64) -> Option<Position> {
    Some(Position { partition: Partition(u32::try_from(partition).ok()?), offset: Offset::new(offset)? })
}

/// The number of a state in a statement.
pub(super) const fn state_code(state: PollState) -> i64 {
    match state {
        PollState::Scheduled => 0,
        PollState::Open => 1,
        PollState::Closed => 2,
    }
}

/// Reads a past vote.
pub(super) fn past_vote(outcome: i64, choices: Option<&[u8]>) -> Option<PastVote> {
    let outcome = Outcome::from_code(u8::try_from(outcome).ok()?)?;
    Some(PastVote { kind: VoteKind::of(optional_choices(choices)?), outcome })
}

/// A row of a history: what was added in a step.
pub(super) struct Added<'a> {
    pub(super) step: i64,
    /// Choices of one option; `None`: its voters.
    pub(super) option: Option<&'a [u8]>,
    pub(super) votes: i64,
}

impl Added<'_> {
    /// Puts it into a history; `None` when it cannot be of this poll.
    pub(super) fn put_into(&self, sum: &mut HistorySum) -> Option<()> {
        let (step, votes) = (usize::try_from(self.step).ok()?, u64::try_from(self.votes).ok()?);
        match self.option {
            None => sum.add_voters(step, votes),
            Some(&[option]) => sum.add_votes(step, OptionId::new(option.into())?, votes),
            Some(_) => None,
        }
    }
}

/// The votes of a batch.
pub(super) fn votes_of(batch: &Batch) -> impl Iterator<Item = &Vote> {
    batch.parts().iter().flat_map(votes_in)
}

/// The votes of a part of it.
pub(super) fn votes_in(part: &PartitionBatch) -> impl Iterator<Item = &Vote> {
    part.entries.iter().filter_map(|entry| match entry {
        Entry::Vote(vote) => Some(vote),
        Entry::DeadLetter(_) => None,
    })
}

/// The vote of this batch that stands; `None` when it was standing before.
pub(super) fn vote_at(batch: &Batch, standing: StandingVote) -> Option<&Vote> {
    let part = batch.parts().iter().find(|part| part.partition == standing.position.partition)?;
    let index = usize::try_from(standing.position.offset.since(part.first)?).ok()?;
    match part.entries.get(index)? {
        Entry::Vote(vote) if vote.id == standing.id => Some(vote),
        Entry::Vote(_) | Entry::DeadLetter(_) => None,
    }
}

/// Ids of past votes that the store keeps already.
pub(super) type KeptPast = HashSet<(PollId, VoterKey, VoteId)>;
