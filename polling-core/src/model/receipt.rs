//! What an acknowledged vote is asked about later.

use super::poll::PollId;
use super::vote::{Vote, VoteId, VoterKey};
use crate::checkpoint::Position;
use crate::clock::Timestamp;

/// Names one acknowledgement: enough to find out what became of the vote, and not what it chose.
///
/// [`Secret::seal_receipt`](crate::secret::Secret::seal_receipt) turns it into the token that a client keeps, in which nobody
/// else can read any of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The poll.
    pub poll: PollId,
    /// The voter.
    pub voter: VoterKey,
    /// The name of the vote.
    pub vote_id: VoteId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Where it stands in the log, when that is known. Before the partition's checkpoint has passed it, the vote is pending.
    pub position: Option<Position>,
}

impl Receipt {
    /// The receipt of a vote recorded at `position`.
    #[must_use]
    pub const fn of(vote: &Vote, position: Option<Position>) -> Self {
        Self { poll: vote.poll, voter: vote.voter, vote_id: vote.id, accepted_at: vote.accepted_at, position }
    }
}
