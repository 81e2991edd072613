//! The live routes in the document. They are served beside these operations, because frames are no business of OpenAPI.

use std::marker::PhantomData;

use poem::http::StatusCode;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaResponse, Registry};
use polling_core::model::PollId;

use super::answer::{Answer, Described, described_empty, with_header};
use super::parameter::{Given, Token};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::security::{AnyViewer, Anybody, Documented};
use super::tag::ApiTag;

/// Describes the WebSocket routes. Never routed: [`routes`](crate::routes::routes) takes the endpoints that serve them.
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
    ) -> Answer<Watch<OnePoll>> {
        not_routed()
    }

    /// Watch the leaderboard.
    ///
    /// A WebSocket. It begins with a snapshot and goes on with a frame per change:
    /// `{"type":"leaderboard","version","entries":[…]}`, with entries as in `GET /leaderboard`.
    #[oai(path = "/leaderboard/live", method = "get", operation_id = "watchLeaderboard")]
    async fn leaderboard(&self, _anybody: Documented<Anybody>) -> Answer<Watch<Board>> {
        not_routed()
    }

    /// Watch several polls.
    ///
    /// A WebSocket. The client sends `{"subscribe":["poll id"],"leaderboard":true}` or `{"unsubscribe":["poll id"]}`, at most 100
    /// polls on a socket, and gets the frames of `watchPoll` and `watchLeaderboard`. A message that cannot be served is answered
    /// by a frame of type `error` with the members of a problem.
    #[oai(path = "/live", method = "get", operation_id = "watch")]
    async fn many(
        &self,
        _viewer: Documented<AnyViewer>,
        /// The receipt of a counted vote, to see the results of its poll that are shown after the vote.
        #[oai(name = "receipt")]
        _receipt: Query<Option<Given<Token>>>,
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

struct Board;

impl Watchable for Board {
    const REFUSALS: &'static [ProblemKind] = &[ProblemKind::Forbidden, ProblemKind::RateLimited, ProblemKind::Unavailable];
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
