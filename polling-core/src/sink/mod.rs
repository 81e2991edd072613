//! Where votes go in: the trait of the writing end of the log.

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;

use async_trait::async_trait;
use thiserror::Error;

use crate::checkpoint::Position;
use crate::model::{Outcome, Vote};

/// A vote that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Where it stands in the log; `None` when the log cannot tell.
    pub position: Option<Position>,
    /// What became of it, when that is known already.
    pub outcome: Option<Outcome>,
    /// Whether the voter had used this vote id before for something else, so that the outcome is that of another vote. `false` as
    /// long as the outcome is not known.
    pub is_conflict: bool,
}

/// Why a vote was not acknowledged. The caller decides by the variant; sending the same vote id again is safe after both.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SinkError {
    /// The vote is certainly not in the log and never will be.
    #[error("the vote was not recorded: {reason}")]
    NotRecorded {
        /// Why, completing "the vote was not recorded: …".
        reason: String,
    },
    /// The vote may be in the log, or may yet come into it.
    #[error("whether the vote was recorded is unknown: {reason}")]
    Unknown {
        /// Why it is not known.
        reason: String,
    },
}

/// Takes votes into the log.
///
/// # Delivery
///
/// `Ok` means durable in the sense of the backend: the vote will have exactly one outcome, whatever process dies next. An
/// error says whether the vote is certainly not in the log or may be.
///
/// # Ordering
///
/// Votes of one voter whose calls do not overlap stand in the log in the order of the calls.
///
/// # Idempotence
///
/// None: two calls with the same vote write two records. The store counts one of them.
///
/// # Errors
///
/// [`SinkError::NotRecorded`] and [`SinkError::Unknown`], and nothing else: whoever cannot tell says `Unknown`. After both, the same
/// vote may be recorded again; only after the first is it certain that there is no other record of it.
///
/// # Backpressure
///
/// A full queue is refused at once with [`SinkError::NotRecorded`]; a call never waits for room.
///
/// # Cancellation
///
/// A dropped future may or may not have recorded the vote.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait VoteSink: Send + Sync {
    /// Records a vote; resolves when it is durable.
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError>;
}
