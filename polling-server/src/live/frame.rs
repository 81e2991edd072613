//! The frames of the live protocol. Field names are fixed: programs outside rely on them.

use polling_core::clock::Timestamp;
use polling_core::model::{PollId, Version};
use polling_core::store::PollSnapshot;
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::api::problem::Problem;
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// The state of a poll, serialised once for all who watch it.
#[derive(Debug, Clone)]
pub struct PollFrame {
    /// Which state of the poll this is.
    pub version: Version,
    /// For a viewer who may see the results.
    pub with_results: Utf8Bytes,
    /// For one who may not.
    pub without_results: Utf8Bytes,
    /// Whether everybody may see the results.
    pub public: bool,
}

/// What a watched poll has come to.
#[derive(Debug, Clone)]
pub enum PollNews {
    /// It has this state.
    Frame(PollFrame),
    /// It was archived.
    Gone,
}

#[derive(Serialize)]
struct ResultsFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    poll_id: Uuid,
    epoch: u64,
    version: u64,
    state: &'static str,
    voters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a [OptionVotes]>,
}

#[derive(Serialize)]
struct OptionVotes {
    id: u8,
    votes: u64,
}

impl PollFrame {
    /// The frame of a poll as it is at `now`.
    #[must_use]
    pub fn new(snapshot: &PollSnapshot, now: Timestamp) -> Self {
        let PollSnapshot { poll, tally } = snapshot;
        let options: Vec<OptionVotes> =
            tally.totals.votes.iter().zip(1..).map(|(&votes, id)| OptionVotes { id, votes }).collect();
        let frame = |options| ResultsFrame {
            kind: "results",
            poll_id: poll.id.as_uuid(),
            epoch: tally.version.epoch,
            version: tally.version.number,
            state: poll.state(now).as_str(),
            voters: tally.totals.voters,
            options,
        };
        Self {
            version: tally.version,
            with_results: text(&frame(Some(&options))),
            without_results: text(&frame(None)),
            public: poll.results_are_public(now),
        }
    }
}

/// The frame of the leaderboard.
#[must_use]
pub fn leaderboard_frame(body: &LeaderboardBody) -> Utf8Bytes {
    #[derive(Serialize)]
    struct LeaderboardFrame<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        version: u64,
        entries: &'a [LeaderboardEntry],
    }
    text(&LeaderboardFrame { kind: "leaderboard", version: body.version, entries: &body.entries })
}

/// The frame of a problem. The problem's own `type` is in the member `problem`, because `type` says that the frame is an error.
#[must_use]
pub fn error_frame(problem: &Problem, poll: Option<PollId>) -> Utf8Bytes {
    let mut frame = problem.to_json();
    if let Some(members) = frame.as_object_mut() {
        let name = members.insert("type".to_owned(), "error".into()).unwrap_or_default();
        members.insert("problem".to_owned(), name);
        if let Some(poll) = poll {
            members.insert("poll_id".to_owned(), poll.to_string().into());
        }
    }
    text(&frame)
}

fn text(frame: &impl Serialize) -> Utf8Bytes {
    // Frames are made of texts and numbers, which always serialise.
    serde_json::to_string(frame).unwrap_or_default().into()
}
