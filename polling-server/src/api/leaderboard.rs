//! The operation on the leaderboard.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};
use poem_openapi::registry::{MetaResponse, Registry};
use poem_openapi::types::Type;

use super::answer::{Answer, Described, JSON, described, described_empty, with_header};
use super::identity::Caller;
use super::negotiation::require_acceptable;
use super::parameter::{Given, PageLimit, QueryErrors};
use super::polls::tagged_response;
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::security::{Anybody, Documented};
use super::store_calls;
use super::tag::ApiTag;
use super::types::LeaderboardBody;
use crate::service::Service;

/// Places on the board when the client does not say.
const PLACES_DEFAULT: usize = 10;

/// Shows the leaderboard.
pub(crate) struct Leaderboard(pub(crate) Arc<Service>);

#[OpenApi(tag = "ApiTag::Leaderboard")]
impl Leaderboard {
    /// Get the leaderboard.
    ///
    /// The options with the most votes, at least one, over all open polls whose results everybody may see. On a tie the poll
    /// that was created earlier comes first, then the smaller option id.
    #[oai(path = "/leaderboard", method = "get", operation_id = "getLeaderboard")]
    async fn get(
        &self,
        request: &Request,
        _anybody: Documented<Anybody>,
        /// How many places; 10 by default.
        limit: Query<Option<Given<PageLimit>>>,
        /// Entity tags that the client has; 304 when one is current.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
    ) -> Answer<GetLeaderboard> {
        show(&self.0, Caller::of(request), limit.0).await.into()
    }
}

async fn show(service: &Service, caller: Caller<'_>, limit: Option<Given<PageLimit>>) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let mut errors = QueryErrors::default();
    let limit = errors.take("limit", limit).map_or(PLACES_DEFAULT, |limit| limit.0);
    errors.check()?;
    let board = Arc::clone(&service.board);
    let sendable = store_calls::read(service, async move { board.sendable(limit).await }).await?;
    Ok(tagged_response(caller, &sendable))
}

/// What `getLeaderboard` answers.
struct GetLeaderboard;

impl Described for GetLeaderboard {
    const PROBLEMS: &'static [ProblemKind] = &[ProblemKind::NotAcceptable, ProblemKind::Validation, ProblemKind::Unavailable];

    fn answers() -> Vec<MetaResponse> {
        let tag = "Changes with anything on the board";
        vec![
            with_header(described::<LeaderboardBody>(StatusCode::OK, "The board."), "ETag", tag),
            with_header(described_empty(StatusCode::NOT_MODIFIED, "What the client has is current."), "ETag", tag),
        ]
    }

    fn register(registry: &mut Registry) {
        LeaderboardBody::register(registry);
    }
}
