//! The routes of the sockets.

use std::sync::Arc;

use poem::{Endpoint, IntoEndpoint, Request, Response, Route, RouteMethod};
use polling_core::model::{PollId, Receipt};

use super::endpoints::Live;
use crate::api::identity::Caller;
use crate::api::parameter::{Given, Parameter as _, QueryErrors, Token, query_parameter};
use crate::api::problem::Problem;
use crate::api::problem_kind::ProblemKind;
use crate::api::store_calls;
use crate::api::visibility::{receipt_of, sight};
use crate::service::Service;

/// Adds the addresses of the sockets.
pub fn with_sockets(route: Route, service: &Arc<Service>, live: Arc<Live>) -> Route {
    let (leaderboard, multiplexed) = (Arc::clone(&live), Arc::clone(&live));
    route
        .at("/polls/:poll_id/live", RouteMethod::new().get(PollSocket { service: Arc::clone(service), live }))
        .at("/leaderboard/live", RouteMethod::new().get(socket(move |request| leaderboard.leaderboard(request))))
        .at("/live", RouteMethod::new().get(socket(move |request| multiplexed.multiplexed(request))))
}

fn socket(
    open: impl Fn(&Request) -> Result<Response, Problem> + Send + Sync + 'static,
) -> impl IntoEndpoint<Endpoint = impl Endpoint<Output = Response> + 'static> {
    poem::endpoint::make_sync(move |request| open(&request).map_err(poem::Error::from))
}

struct PollSocket {
    service: Arc<Service>,
    live: Arc<Live>,
}

impl Endpoint for PollSocket {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let poll = request.raw_path_param("poll_id").and_then(PollId::parse);
        let poll = poll.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
        // Before anything is read for a page of another site.
        self.live.check_origin(&request)?;
        let receipt = self.receipt(&request, poll)?;
        let view = store_calls::existing_poll(&self.service, Some(poll)).await?;
        let now = self.service.clock.now();
        let insider = sight(&self.service, Caller::of(&request), view.snapshot(), receipt, now).await?.is_insider();
        Ok(self.live.poll(&self.service, &request, poll, insider).await?)
    }
}

impl PollSocket {
    fn receipt(&self, request: &Request, poll: PollId) -> Result<Option<Receipt>, Problem> {
        let token = query_parameter(request, "receipt");
        let mut errors = QueryErrors::default();
        let receipt = receipt_of(&self.service, poll, token.map(|token| Given(Token::parse(&token))), &mut errors);
        errors.check()?;
        Ok(receipt)
    }
}
