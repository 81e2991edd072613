//! Polls, votes and tallies, kept: the two traits of a store and their contracts.

mod folding;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "postgres")]
mod postgres_apply;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_audit;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_claim;
#[cfg(feature = "postgres")]
mod postgres_copy;
#[cfg(feature = "postgres")]
mod postgres_lane;
#[cfg(feature = "postgres")]
mod postgres_memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_options;
#[cfg(feature = "postgres")]
mod postgres_polls;
#[cfg(feature = "postgres")]
mod postgres_rows;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_server;
#[cfg(feature = "postgres")]
mod postgres_statements;
#[cfg(feature = "postgres")]
mod postgres_traits;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
pub(crate) mod settle;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_file;
#[cfg(feature = "sqlite")]
mod sqlite_readers;
#[cfg(feature = "sqlite")]
mod sqlite_rows;
#[cfg(feature = "sqlite")]
mod sqlite_session;
#[cfg(feature = "sqlite")]
mod sqlite_statements;
#[cfg(feature = "sqlite")]
mod sqlite_traits;
#[cfg(feature = "sqlite")]
mod sqlite_write;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod voters;

use async_trait::async_trait;
use thiserror::Error;

use crate::checkpoint::{Batch, Checkpoint, Offset, Partition};
use crate::clock::Timestamp;
use crate::model::{Choices, History, HistorySum, OptionId, Outcome, Poll, PollId, PollState, Receipt, Resolution, Steps, Tally};
use crate::model::{VoteId, VoterKey};

/// A boxed cause, printed by whoever logs the chain.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked. Each variant is a decision of the caller.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Certainly nothing was changed; the same call may succeed later (disk full, read only, unreachable).
    #[error("the store is unavailable")]
    Unavailable(#[source] Source),
    /// The call may have taken effect or not. Ask again; applying the same batch again is safe.
    #[error("the outcome of the transaction is unknown")]
    Unknown(#[source] Source),
    /// The batch does not start where the checkpoint stands: somebody else applied records of this partition. Nothing was
    /// changed; reload the checkpoint and start from there.
    #[error("partition {partition} stands at offset {found}, not at {expected}")]
    Fenced {
        /// The partition.
        partition: Partition,
        /// Where the batch starts.
        expected: Offset,
        /// Where the checkpoint stands.
        found: Offset,
    },
    /// What the store holds cannot be understood. Retrying does not help; nothing was changed.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// The cause of [`StoreError::Unavailable`] when the store is well, and has more to do than it takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more waits for the store than it takes on")]
pub struct Overloaded;

impl StoreError {
    /// Whether the store is well and only has too much to do just now.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        matches!(self, Self::Unavailable(cause) if cause.is::<Overloaded>())
    }

    /// Whether the same call may succeed later without anybody doing anything about the call itself.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_))
    }
}

/// A poll and its tally, read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollSnapshot {
    /// The definition.
    pub poll: Poll,
    /// The tally, of the same moment.
    pub tally: Tally,
}

/// Which polls to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PollFilter {
    /// Only polls in this state, as it is shown at the time of the query ([`Poll::state_shown`]).
    pub state: Option<PollState>,
    /// At this earlier time instead ([`Poll::state_listed`]), so that a list that is read page by page keeps to the time of its first
    /// page, whatever opens and closes meanwhile.
    pub state_at: Option<Timestamp>,
    /// Only polls whose question contains this text, ignoring case.
    pub text: Option<String>,
}

/// In which direction of creation to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CreationOrder {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// What scheduled openings and closings did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transitions {
    /// Polls whose state has changed; each has a new version.
    pub changed: Vec<PollId>,
    /// When the next change is due, as far as is known now.
    pub next: Option<Timestamp>,
}

/// An option in the order of the leaderboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leader {
    /// The poll.
    pub poll: PollId,
    /// The option.
    pub option: OptionId,
    /// Its votes, at least one.
    pub votes: u64,
}

/// The vote that stands for a voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedVote {
    /// Its name.
    pub id: VoteId,
    /// Its choices; `None` after a retraction.
    pub choices: Option<Choices>,
}

/// What applying a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The outcome of each entry, in the order of [`Batch::positioned`], as it is at the end of the batch.
    pub outcomes: Vec<Outcome>,
    /// Which entries came under a vote id that their voter had used before for something else, as ascending indices into
    /// `outcomes`: each has the outcome of that first vote, and none of its own.
    pub conflicts: Vec<usize>,
    /// The new tallies of the polls whose tally changed.
    pub tallies: Vec<Tally>,
}

/// Keeps the definitions of polls.
///
/// # Delivery
///
/// When a call that changes something answers `Ok`, the change survives a crash of the process and, where the store says so,
/// of the machine. [`StoreError::Unavailable`] means that nothing was changed.
///
/// # Ordering
///
/// Every change of a poll (close, archive, transition, and those of [`TallyStore::apply`]) gives it a greater version.
/// A read shows a definition and a tally of the same moment, and says of each poll which changes of state have a version
/// ([`Poll::awaiting`]), because clocks differ and are set back.
///
/// # Idempotence
///
/// Creating the same poll again, closing a closed poll, archiving an archived one, and a transition with nothing due change nothing.
///
/// # Errors
///
/// After [`StoreError::Unknown`] from a call that changes something, the same call again says what is there, because doing it twice
/// changes nothing. After every other error nothing was changed. A read changes nothing, whatever it fails with.
/// [`StoreError::Fenced`] is not among them.
///
/// # Cancellation
///
/// A dropped future has had its whole effect or none. Callers that must know which wait for it in a task of its own.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait PollStore: Send + Sync {
    /// Keeps a new poll with an empty tally and version 1. A poll with this id that exists already is left as it is.
    async fn create(&self, poll: &Poll) -> Result<(), StoreError>;

    /// The poll and its tally; `None` when it does not exist or is archived.
    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError>;

    /// At most `limit` polls that match `filter` at `now`, in the order of creation, beginning after the poll `after`
    /// (which need not exist any more).
    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError>;

    /// The ids of all polls that match `filter` at `now`, most voters first, then the older poll first; at most `limit`.
    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError>;

    /// Closes the poll at `at`, or just after the latest acceptance time of a vote already applied to it, whichever is later:
    /// so no vote that was counted is late. Either way it is closed from now on ([`Poll::has_closed`]), whatever a clock says later. A
    /// poll that has closed is left as it is. `None`: no such poll.
    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError>;

    /// Archives the poll: it is gone from every answer but [`TallyStore::outcome`]. Votes for it are invalid from then on.
    /// Answers whether the poll existed.
    async fn archive(&self, poll: PollId) -> Result<bool, StoreError>;

    /// Gives a new version to every poll whose opening or closing time has come since the last call, and says when the next is due.
    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError>;
}

/// Keeps votes, tallies, and how far the log has been applied.
///
/// # Delivery
///
/// [`apply`](Self::apply) is one transaction: the checkpoint moves by compare-and-set, the votes are decided by
/// [`decide`](crate::model::decide), the tallies of the votes that really took effect are added, the versions grow. `Ok`
/// means that it is durable.
///
/// # Ordering
///
/// Within a batch, entries take effect partition by partition, each partition in the order of its offsets.
///
/// # Idempotence
///
/// A batch applied before is answered with [`StoreError::Fenced`] and changes nothing; that resolves [`StoreError::Unknown`].
///
/// # Errors
///
/// After [`StoreError::Unknown`] from [`apply`](Self::apply), the batch was applied or was not; applying it again tells which. After
/// every other error nothing was changed. A read changes nothing, whatever it fails with, and never with [`StoreError::Fenced`].
///
/// # Cancellation
///
/// A dropped `apply` has had its whole effect or none; applying the batch again tells which.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait TallyStore: Send + Sync {
    /// Applies a batch. An empty one proves that the store can commit, and changes nothing else.
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError>;

    /// How far each partition has been applied, with [`PartitionBatch::last`](crate::checkpoint::PartitionBatch::last) of the last part of it.
    async fn checkpoint(&self) -> Result<Checkpoint, StoreError>;

    /// The tallies of these polls, in no order, without those that do not exist or are archived.
    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError>;

    /// The options with the most votes, at least one, among the polls that are open at `now` and show their results to all:
    /// most votes first, then the poll created earlier, then the smaller option. At most `limit`.
    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError>;

    /// What became of the vote that the receipt names, and what was asked under its id; `None` while it is not known. Archived
    /// polls answer too.
    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError>;

    /// The vote that stands for this voter; `None` when there is none.
    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError>;

    /// How the totals of the poll grew over these steps, by the acceptance times of the votes that count now; `None` when it does
    /// not exist or is archived. Reads every vote of the poll, and answers totals only.
    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError>;
}

/// Checks that every part of the batch starts where the checkpoint stands.
fn fence(batch: &Batch, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    for part in batch.parts() {
        let found = checkpoint.next(part.partition);
        if found != part.first {
            return Err(StoreError::Fenced { partition: part.partition, expected: part.first, found });
        }
    }
    Ok(())
}

/// The running totals, or that the tally is not the number of its votes.
fn history_of(sum: HistorySum, tally: Tally) -> Result<History, StoreError> {
    let poll = tally.poll;
    sum.finish(tally).ok_or_else(|| StoreError::Damaged(format!("the tally of the poll {poll} is not the number of its votes")))
}

/// When a poll closes that somebody wants closed at `at`: not before a vote that was in time when it was applied.
///
/// Where a clock was set back, or that of another server is ahead, this is still to come, by up to as much. It only tells which
/// acceptance times are in time, and the poll is closed at once ([`Poll::closed`]): it is shown as such, and servers take no more
/// votes. What was acknowledged before the close counts when it is applied after it: a vote that was on its way from a clock
/// that was right, and one from the clock that is ahead. In return, of a server that has not heard of the close yet, a vote with an
/// acceptance time between `at` and this counts as well: a record does not say which of the two it is, and a vote that
/// was acknowledged in time must not be lost.
///
/// A clock of the process that never goes back would not do instead: it forgets at a restart, another server does not have it, and one
/// that was a year ahead for a moment would refuse or close for a year every poll with a planned close.
fn close_time(at: Timestamp, last_accepted_at: Option<Timestamp>) -> Timestamp {
    last_accepted_at.map_or(at, |last| at.max(last.saturating_add(std::time::Duration::from_micros(1))))
}
