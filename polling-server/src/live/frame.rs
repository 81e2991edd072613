//! The frames of the live protocol. Field names are fixed: programs outside rely on them. What stands above a field here is what
//! `asyncapi.json` says of it.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use polling_core::clock::Timestamp;
#[cfg(test)]
use polling_core::model::{OPTIONS_MAX, OPTIONS_MIN, PollState};
use polling_core::model::{PollId, Version};
use polling_core::store::PollSnapshot;
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

#[cfg(test)]
use super::hub::LEADERBOARD_PLACES;
#[cfg(test)]
use crate::api::problem::FIELD_ERRORS_MAX;
use crate::api::problem::{FieldError, Problem, ProblemBody};
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// The `type` of each frame.
const RESULTS: &str = "results";
const VIEWERS: &str = "viewers";
const LEADERBOARD: &str = "leaderboard";
const ERROR: &str = "error";

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

    /// The same frame of results with the member `viewers`.
    fn with_viewers(&self, count: u64) -> Self {
        let start = self.event.len() - EVENT_END.len() - self.text.len();
        let mut event = self.event[..start + self.text.len() - 1].to_vec();
        let _infallible = write!(event, ",\"viewers\":{count}}}");
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

impl PollNews {
    /// What to show first to whoever read `first` and then got these news, which may have been made before or after that: the newest.
    #[must_use]
    pub fn or_newer(&self, first: Arc<PollFrame>) -> Self {
        match self {
            Self::Frame(latest) if latest.version <= first.version => Self::Frame(first),
            newer => newer.clone(),
        }
    }
}

/// The states that a poll can be in.
#[cfg(test)]
const STATES: [PollState; 3] = [PollState::Scheduled, PollState::Open, PollState::Closed];

/// The state of a poll.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(super) struct ResultsFrame<'a> {
    /// Which frame it is.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("const" = RESULTS)))]
    kind: &'static str,
    /// The poll.
    poll_id: Uuid,
    /// Changes only when the history of the store may have gone back.
    epoch: u64,
    /// Grows with every change of the poll or its tally. The pair of epoch and version only grows on a connection.
    version: u64,
    /// Whether the poll takes votes.
    #[cfg_attr(test, schemars(extend("enum" = STATES.map(PollState::as_str))))]
    state: &'static str,
    /// Voters with a counted vote.
    voters: u64,
    /// The votes of each option. Absent when this viewer may not see the results. The texts are in `GET /polls/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<OptionVotes>", length(min = OPTIONS_MIN, max = OPTIONS_MAX)))]
    options: Option<&'a [OptionVotes]>,
    /// How many watch the poll, at all servers: approximate, and only for clients that asked by `?viewers=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "u64"))]
    viewers: Option<u64>,
}

/// How many watch a poll.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(super) struct ViewersFrame {
    /// Which frame it is.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("const" = VIEWERS)))]
    kind: &'static str,
    /// The poll.
    poll_id: Uuid,
    /// How many watch it, at all servers: approximate. A person with two windows counts twice.
    viewers: u64,
}

/// The votes of an option.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct OptionVotes {
    /// The option.
    #[cfg_attr(test, schemars(range(min = 1, max = OPTIONS_MAX)))]
    id: u8,
    /// Votes that are counted.
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
            let frame = ResultsFrame {
                kind: RESULTS,
                poll_id: poll.id.as_uuid(),
                epoch: tally.version.epoch,
                version: tally.version.number,
                state: poll.state_shown(now).as_str(),
                voters: tally.totals.voters,
                options,
                // `with_viewers` adds it to what is rendered, whenever it changes.
                viewers: None,
            };
            Rendered::new(RESULTS, Some(tally.version), &frame)
        };
        Self {
            version: tally.version,
            with_results: rendered(Some(&options)),
            without_results: rendered(None),
            public: poll.results_are_public(now),
            viewers: None,
        }
    }

    /// Whether it says that so many watch.
    #[must_use]
    pub fn says(&self, viewers: u64) -> bool {
        self.viewers.as_ref().is_some_and(|known| known.count == viewers)
    }

    /// The same frame of this poll with so many viewers.
    #[must_use]
    pub fn with_viewers(&self, poll: PollId, count: u64) -> Self {
        let alone = ViewersFrame { kind: VIEWERS, poll_id: poll.as_uuid(), viewers: count };
        let viewers = Viewers {
            count,
            with_results: self.with_results.with_viewers(count),
            without_results: self.without_results.with_viewers(count),
            alone: Rendered::new(VIEWERS, None, &alone),
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

/// The leaderboard.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(super) struct LeaderboardFrame<'a> {
    /// Which frame it is.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("const" = LEADERBOARD)))]
    kind: &'static str,
    /// Grows on a connection; it cannot be compared between servers.
    version: u64,
    /// The best options first, as in `GET /leaderboard`, and where they were before.
    #[cfg_attr(test, schemars(length(max = LEADERBOARD_PLACES)))]
    entries: Vec<MovedEntry<'a>>,
}

/// An option on the leaderboard.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "LeaderboardEntry", deny_unknown_fields))]
struct MovedEntry<'a> {
    #[serde(flatten)]
    entry: &'a LeaderboardEntry,
    /// The place in the frame before on the leaderboard's channel, which is the same for all clients of a server; null when the
    /// option was not on it. A client that was slow, or has just come, may have seen another frame before this one.
    #[cfg_attr(test, schemars(range(min = 1)))]
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
        let version = Version { epoch: process, number: body.version };
        let frame =
            LeaderboardFrame { kind: LEADERBOARD, version: body.version, entries: body.entries.iter().map(moved).collect() };
        Self { version, rendered: Rendered::new(LEADERBOARD, Some(version), &frame), entries: body.entries.as_slice().into() }
    }

    /// Whether it shows what the board shows now. The board may have changed where no frame shows it.
    #[must_use]
    pub fn shows(&self, body: &LeaderboardBody) -> bool {
        *self.entries == *body.entries
    }
}

/// The members of a problem document. The problem's own type is in `problem`, because `type` says that the frame is an error.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(super) struct ErrorFrame<'a> {
    /// Which frame it is.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("const" = ERROR)))]
    kind: &'static str,
    /// The type of the problem: the address of a page that says what a client should do.
    #[cfg_attr(test, schemars(extend("format" = "uri-reference", "examples" = ["/problems/validation"])))]
    problem: Cow<'static, str>,
    /// The same for every problem of the type.
    title: &'static str,
    /// The HTTP status that the problem would have.
    #[cfg_attr(test, schemars(range(min = 400, max = 599)))]
    status: u16,
    /// What is particular about this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    detail: Option<&'a str>,
    /// Everything that is wrong with the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(min = 1, max = FIELD_ERRORS_MAX)))]
    errors: Vec<MessageError<'a>>,
    /// The poll that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Uuid"))]
    poll_id: Option<Uuid>,
}

/// One thing that is wrong with a message.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FieldError", deny_unknown_fields))]
struct MessageError<'a> {
    /// Where in the message, as a JSON pointer (RFC 6901).
    #[cfg_attr(test, schemars(extend("format" = "json-pointer")))]
    pointer: &'a str,
    /// What is wrong.
    detail: &'a str,
}

impl<'a> MessageError<'a> {
    fn new(error: &'a FieldError) -> Self {
        // A message has no parameters: what has no place in it is about all of it.
        Self { pointer: error.pointer.as_deref().unwrap_or_default(), detail: &error.detail }
    }
}

/// The frame of a problem.
#[must_use]
pub fn error_frame(problem: &Problem, poll: Option<PollId>) -> Rendered {
    // Nothing is recorded here: votes come over HTTP.
    let ProblemBody { problem_type, title, status, detail, errors, recorded: _ } = problem.body();
    let frame = ErrorFrame {
        kind: ERROR,
        problem: problem_type,
        title,
        status,
        detail,
        errors: errors.iter().map(MessageError::new).collect(),
        poll_id: poll.map(PollId::as_uuid),
    };
    Rendered::new(ERROR, None, &frame)
}
