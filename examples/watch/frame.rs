//! The frames of the live protocol, as far as this client shows them. Members that it does not know are left out, and so are frames of
//! other types: newer servers may send both.

use serde::Deserialize;
use uuid::Uuid;

/// A frame.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Frame {
    Results(Results),
    Viewers(Viewers),
    Leaderboard {
        entries: Vec<Entry>,
    },
    Error(Trouble),
    #[serde(other)]
    Unknown,
}

impl Frame {
    /// Whether the server cannot show something now, and may be able to later.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Error(Trouble { status: 503, .. }))
    }
}

/// The state of a poll.
#[derive(Debug, Deserialize)]
pub(crate) struct Results {
    pub(crate) poll_id: Uuid,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) state: String,
    pub(crate) voters: u64,
    /// Absent while they are hidden from us.
    #[serde(default)]
    pub(crate) options: Option<Vec<OptionVotes>>,
    #[serde(default)]
    pub(crate) viewers: Option<u64>,
}

/// The votes of an option; options come in the order of the poll.
#[derive(Debug, Deserialize)]
pub(crate) struct OptionVotes {
    pub(crate) votes: u64,
}

/// How many watch a poll.
#[derive(Debug, Deserialize)]
pub(crate) struct Viewers {
    pub(crate) poll_id: Uuid,
    pub(crate) viewers: u64,
}

/// A place on the leaderboard.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) rank: u32,
    pub(crate) previous_rank: Option<u32>,
    pub(crate) question: String,
    pub(crate) text: String,
    pub(crate) votes: u64,
}

/// What the server could not do.
#[derive(Debug, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) title: String,
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) poll_id: Option<Uuid>,
}
