//! The live routes in the document. They are served beside these operations, because frames are no business of OpenAPI.

use std::marker::PhantomData;

use poem::http::StatusCode;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaSchema, MetaSchemaRef, Registry};
use polling_core::model::PollId;

use super::answer::{Answer, Described, described_empty, with_header};
use super::parameter::{Given, Token};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::security::{AnyViewer, Anybody, Documented};
use super::tag::ApiTag;
use crate::live::events::EVENT_STREAM;

/// Describes the routes of sockets and streams. Never routed: [`routes`](crate::routes::routes) takes the endpoints that serve them.
pub(crate) struct LiveDocument;

#[OpenApi(tag = "ApiTag::Live")]
impl LiveDocument {
    /// Watch a poll.
    ///
    /// A WebSocket. It begins with a snapshot and goes on with a frame per change, always the newest state:
    /// `{"type":"results","poll_id","epoch","version","state","voters","options":[{"id","votes"}]}`. The pair of epoch and version
    /// only grows.
    #[oai(path = "/polls/:poll_id/live", method = "get", operation_id = "watchPoll")]
    async fn poll(
        &self,
        _viewer: Documented<AnyViewer>,
        /// The poll.
        #[oai(name = "poll_id")]
        _poll_id: Path<Given<PollId>>,
        /// The receipt of a counted vote in this poll, to see results that are shown after the vote.
        #[oai(name = "receipt")]
        _receipt: Query<Option<Given<Token>>>,
        /// `EPOCH.VERSION` of what the client has: a snapshot that is not newer is left out.
        #[oai(name = "after")]
        _after: Query<Option<Given<Token>>>,
        /// 1: tell how many watch, in each frame and in frames of their own, `{"type":"viewers","poll_id","viewers"}`, at most once a
        /// second. The number is approximate. 0 by default.
        #[oai(name = "viewers")]
        _viewers: Query<Option<Given<Token>>>,
    ) -> Answer<Watch<OnePoll>> {
        not_routed()
    }

    /// Watch the leaderboard.
    ///
    /// A WebSocket. It begins with a snapshot and goes on with a frame per change:
    /// `{"type":"leaderboard","version","entries":[…]}`, with entries as in `GET /leaderboard` and their `previous_rank` in the frame
    /// before, null for an option that was not on it.
    #[oai(path = "/leaderboard/live", method = "get", operation_id = "watchLeaderboard")]
    async fn leaderboard(&self, _anybody: Documented<Anybody>) -> Answer<Watch<Board>> {
        not_routed()
    }

    /// Follow a poll by server-sent events.
    ///
    /// The frames of `watchPoll`, for clients without WebSockets: `event` is the type of the frame, `id` is `EPOCH.VERSION`, `data` the
    /// frame. A browser's `EventSource` comes back by itself and says what it has.
    #[oai(path = "/polls/:poll_id/events", method = "get", operation_id = "followPoll")]
    async fn poll_events(
        &self,
        _viewer: Documented<AnyViewer>,
        /// The poll.
        #[oai(name = "poll_id")]
        _poll_id: Path<Given<PollId>>,
        /// The receipt of a counted vote in this poll, to see results that are shown after the vote.
        #[oai(name = "receipt")]
        _receipt: Query<Option<Given<Token>>>,
        /// `EPOCH.VERSION` of what the client has: a snapshot that is not newer is left out.
        #[oai(name = "after")]
        _after: Query<Option<Given<Token>>>,
        /// The same, of a client that comes back; stronger than `after`.
        #[oai(name = "Last-Event-ID")]
        _last_event_id: Header<Option<String>>,
        /// 1: tell how many watch, in each frame and in frames of their own, `{"type":"viewers","poll_id","viewers"}`, at most once a
        /// second. The number is approximate. 0 by default.
        #[oai(name = "viewers")]
        _viewers: Query<Option<Given<Token>>>,
    ) -> Answer<Follow<OnePoll>> {
        not_routed()
    }

    /// Follow the leaderboard by server-sent events.
    ///
    /// The frames of `watchLeaderboard`; the `EPOCH` of an `id` tells servers apart, and what another server has shown says nothing.
    #[oai(path = "/leaderboard/events", method = "get", operation_id = "followLeaderboard")]
    async fn leaderboard_events(
        &self,
        _anybody: Documented<Anybody>,
        /// `EPOCH.VERSION` of what the client has: a snapshot that is not newer is left out.
        #[oai(name = "after")]
        _after: Query<Option<Given<Token>>>,
        /// The same, of a client that comes back; stronger than `after`.
        #[oai(name = "Last-Event-ID")]
        _last_event_id: Header<Option<String>>,
    ) -> Answer<Follow<Board>> {
        not_routed()
    }

    /// Watch several polls.
    ///
    /// A WebSocket. The client sends `{"subscribe":["poll id"],"leaderboard":true}` or `{"unsubscribe":["poll id"]}`, at most 100
    /// polls at a time and 1000 different ones in the life of a socket, and gets the frames of `watchPoll` and `watchLeaderboard`.
    /// A message that cannot be served is answered by a frame of type `error` with the members of a problem.
    #[oai(path = "/live", method = "get", operation_id = "watch")]
    async fn many(
        &self,
        _viewer: Documented<AnyViewer>,
        /// The receipt of a counted vote, to see the results of its poll that are shown after the vote.
        #[oai(name = "receipt")]
        _receipt: Query<Option<Given<Token>>>,
        /// 1: tell how many watch, in each frame and in frames of their own, `{"type":"viewers","poll_id","viewers"}`, at most once a
        /// second. The number is approximate. 0 by default.
        #[oai(name = "viewers")]
        _viewers: Query<Option<Given<Token>>>,
    ) -> Answer<Watch<SeveralPolls>> {
        not_routed()
    }
}

fn not_routed<D>() -> Answer<D> {
    Err(Problem::new(ProblemKind::Internal)).into()
}

/// What can be watched, and how a wish to watch it is refused.
trait Watchable: Send + Sync + 'static {
    const REFUSALS: &'static [ProblemKind];
}

/// What can be followed by events, and how a wish to follow it is refused.
trait Followable: Send + Sync + 'static {
    const REFUSALS: &'static [ProblemKind];
}

struct OnePoll;

impl Watchable for OnePoll {
    const REFUSALS: &'static [ProblemKind] = &[
        ProblemKind::Forbidden,
        ProblemKind::PollNotFound,
        ProblemKind::Validation,
        ProblemKind::RateLimited,
        ProblemKind::Unavailable,
    ];
}

impl Followable for OnePoll {
    const REFUSALS: &'static [ProblemKind] = &[
        ProblemKind::Forbidden,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::Validation,
        ProblemKind::RateLimited,
        ProblemKind::Unavailable,
    ];
}

struct Board;

impl Watchable for Board {
    const REFUSALS: &'static [ProblemKind] = &[ProblemKind::Forbidden, ProblemKind::RateLimited, ProblemKind::Unavailable];
}

impl Followable for Board {
    const REFUSALS: &'static [ProblemKind] = &[
        ProblemKind::Forbidden,
        ProblemKind::NotAcceptable,
        ProblemKind::Validation,
        ProblemKind::RateLimited,
        ProblemKind::Unavailable,
    ];
}

struct SeveralPolls;

impl Watchable for SeveralPolls {
    const REFUSALS: &'static [ProblemKind] =
        &[ProblemKind::Forbidden, ProblemKind::Validation, ProblemKind::RateLimited, ProblemKind::Unavailable];
}

/// What the live routes answer.
struct Watch<W>(PhantomData<W>);

impl<W: Watchable> Described for Watch<W> {
    const PROBLEMS: &'static [ProblemKind] = W::REFUSALS;

    fn answers() -> Vec<MetaResponse> {
        let upgrade = described_empty(StatusCode::UPGRADE_REQUIRED, "The request does not ask for a WebSocket.");
        vec![
            described_empty(StatusCode::SWITCHING_PROTOCOLS, "The WebSocket is open."),
            with_header(upgrade, "Upgrade", "`websocket`"),
        ]
    }

    fn register(_registry: &mut Registry) {}
}

/// What the streams of events answer.
struct Follow<W>(PhantomData<W>);

impl<W: Followable> Described for Follow<W> {
    const PROBLEMS: &'static [ProblemKind] = W::REFUSALS;

    fn answers() -> Vec<MetaResponse> {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let content = vec![MetaMediaType { content_type: EVENT_STREAM, schema }];
        vec![MetaResponse { content, ..described_empty(StatusCode::OK, "Events, without an end.") }]
    }

    fn register(_registry: &mut Registry) {}
}
