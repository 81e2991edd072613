//! The frames of the live protocol. Field names are fixed: programs outside rely on them.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use polling_core::clock::Timestamp;
use polling_core::model::{PollId, Version};
use polling_core::store::PollSnapshot;
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::api::problem::Problem;
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// What ends a server-sent event.
const EVENT_END: &[u8] = b"\n\n";

/// A frame, serialised once for all who get it.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// For sockets: JSON.
    pub text: Utf8Bytes,
    /// For streams of events: the same with its type and its version. The text is a part of it, so that both are in memory once.
    pub event: Bytes,
}

impl Rendered {
    /// A frame of this type; `id` is what a client says when it comes back.
    fn new(kind: &str, id: Option<Version>, frame: &impl Serialize) -> Self {
        let mut event = format!("event: {kind}\n").into_bytes();
        if let Some(Version { epoch, number }) = id {
            // Writing into memory cannot fail, here and below.
            let _infallible = writeln!(event, "id: {epoch}.{number}");
        }
        event.extend_from_slice(b"data: ");
        let start = event.len();
        // Frames are made of texts and numbers, which always serialise, and into one line.
        let _infallible = serde_json::to_writer(&mut event, frame);
        event.extend_from_slice(EVENT_END);
        Self::cut(event, start)
    }

    /// The same frame with a number more.
    fn with_number(&self, name: &str, number: u64) -> Self {
        let start = self.event.len() - EVENT_END.len() - self.text.len();
        let mut event = self.event[..start + self.text.len() - 1].to_vec();
        let _infallible = write!(event, ",\"{name}\":{number}}}");
        event.extend_from_slice(EVENT_END);
        Self::cut(event, start)
    }

    /// An event, the text of which begins there.
    fn cut(event: Vec<u8>, start: usize) -> Self {
        let event = Bytes::from(event);
        let text = Utf8Bytes::try_from(event.slice(start..event.len() - EVENT_END.len())).unwrap_or_default();
        Self { text, event }
    }
}

/// The state of a poll, for all who watch it.
#[derive(Debug, Clone)]
pub struct PollFrame {
    /// Which state of the poll this is.
    pub version: Version,
    /// For a viewer who may see the results.
    pub with_results: Rendered,
    /// For one who may not.
    pub without_results: Rendered,
    /// Whether everybody may see the results.
    pub public: bool,
    /// How many watch, for those who want to know.
    pub viewers: Option<Viewers>,
}

/// How many watch a poll, and the frames that say so.
#[derive(Debug, Clone)]
pub struct Viewers {
    /// The number.
    pub count: u64,
    /// [`PollFrame::with_results`] with the number.
    pub with_results: Rendered,
    /// [`PollFrame::without_results`] with the number.
    pub without_results: Rendered,
    /// The number alone, for when nothing else has changed.
    pub alone: Rendered,
}

/// What a watched poll has come to.
#[derive(Debug, Clone)]
pub enum PollNews {
    /// It has this state.
    Frame(Arc<PollFrame>),
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
struct ViewersFrame {
    #[serde(rename = "type")]
    kind: &'static str,
    poll_id: Uuid,
    viewers: u64,
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
        let rendered = |options| {
            let kind = "results";
            let frame = ResultsFrame {
                kind,
                poll_id: poll.id.as_uuid(),
                epoch: tally.version.epoch,
                version: tally.version.number,
                state: poll.state_shown(now).as_str(),
                voters: tally.totals.voters,
                options,
            };
            Rendered::new(kind, Some(tally.version), &frame)
        };
        Self {
            version: tally.version,
            with_results: rendered(Some(&options)),
            without_results: rendered(None),
            public: poll.results_are_public(now),
            viewers: None,
        }
    }

    /// The same frame of this poll with so many viewers.
    #[must_use]
    pub fn with_viewers(&self, poll: PollId, count: u64) -> Self {
        let (kind, number) = ("viewers", "viewers");
        let viewers = Viewers {
            count,
            with_results: self.with_results.with_number(number, count),
            without_results: self.without_results.with_number(number, count),
            alone: Rendered::new(kind, None, &ViewersFrame { kind, poll_id: poll.as_uuid(), viewers: count }),
        };
        Self { viewers: Some(viewers), ..self.clone() }
    }
}

/// A frame of the leaderboard.
#[derive(Debug, Clone)]
pub struct BoardFrame {
    /// Which state of which server's board this is: the number grows on a connection, and the epoch tells servers apart.
    pub version: Version,
    /// The frame.
    pub rendered: Rendered,
    /// What it shows.
    entries: Arc<[LeaderboardEntry]>,
}

#[derive(Serialize)]
struct LeaderboardFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u64,
    entries: Vec<MovedEntry<'a>>,
}

#[derive(Serialize)]
struct MovedEntry<'a> {
    #[serde(flatten)]
    entry: &'a LeaderboardEntry,
    previous_rank: Option<u32>,
}

impl BoardFrame {
    /// The frame of the board of this process. Where its options were before is said of `previous`, the frame that was sent before.
    #[must_use]
    pub fn new(process: u64, body: &LeaderboardBody, previous: Option<&Self>) -> Self {
        let option = |entry: &LeaderboardEntry| (entry.poll_id, entry.option_id);
        let before = previous.map_or(&[][..], |previous| &previous.entries);
        let moved = |entry| {
            let previous_rank = before.iter().find(|before| option(before) == option(entry)).map(|before| before.rank);
            MovedEntry { entry, previous_rank }
        };
        let (kind, version) = ("leaderboard", Version { epoch: process, number: body.version });
        let frame = LeaderboardFrame { kind, version: body.version, entries: body.entries.iter().map(moved).collect() };
        Self { version, rendered: Rendered::new(kind, Some(version), &frame), entries: body.entries.as_slice().into() }
    }

    /// Whether it shows what the board shows now. The board may have changed where no frame shows it.
    #[must_use]
    pub fn shows(&self, body: &LeaderboardBody) -> bool {
        *self.entries == *body.entries
    }
}

/// The frame of a problem. The problem's own `type` is in the member `problem`, because `type` says that the frame is an error.
#[must_use]
pub fn error_frame(problem: &Problem, poll: Option<PollId>) -> Rendered {
    let kind = "error";
    let mut frame = problem.to_json();
    if let Some(members) = frame.as_object_mut() {
        let name = members.insert("type".to_owned(), kind.into()).unwrap_or_default();
        members.insert("problem".to_owned(), name);
        if let Some(poll) = poll {
            members.insert("poll_id".to_owned(), poll.to_string().into());
        }
    }
    Rendered::new(kind, None, &frame)
}
