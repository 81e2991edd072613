//! Creating, closing and archiving polls.

use std::sync::Arc;

use bytes::Bytes;
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::Object;
use polling_core::bus::{Update, UpdateBus};
use polling_core::model::PollId;
use polling_core::secret::OwnerToken;
use polling_core::store::PollSnapshot;
use serde::Serialize;

use super::answer::{JSON, json_response};
use super::identity::Caller;
use super::negotiation::require_acceptable;
use super::poll_body::read_poll;
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::security::API_KEY_HEADER;
use super::store_calls;
use super::types::PollBody;
use crate::service::Service;

/// A poll that was just created.
#[derive(Debug, Serialize, Object)]
#[oai(read_only_all)]
pub(crate) struct CreatedPoll {
    /// The poll.
    #[serde(flatten)]
    #[oai(flatten)]
    pub(crate) poll: PollBody,
    /// Makes its holder the owner. Shown this once and never again.
    pub(crate) owner_token: String,
}

/// Creates a poll, for whoever may.
pub(crate) async fn create(service: &Service, caller: Caller<'_>, bytes: &Bytes) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    require_api_key(service, caller)?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "no randomness for an owner token");
        Problem::new(ProblemKind::Internal)
    })?;
    let owner_token = OwnerToken::from_random(random);
    let now = service.clock.now();
    let poll = read_poll(bytes, owner_token.key(), now)?;
    let (polls, created) = (Arc::clone(&service.polls), poll.clone());
    store_calls::write(service, async move { polls.create(&created).await }).await?;
    service.scheduler.poll_created();
    service.views.forget(poll.id);
    let tally = polling_core::model::Tally {
        poll: poll.id,
        version: polling_core::model::Version::default(),
        totals: polling_core::model::Totals::zero(poll.options.len()),
    };
    // The store gives the version; nothing else of what it keeps differs from what was given to it.
    let snapshot = match store_calls::existing_poll(service, Some(poll.id)).await {
        Ok(view) => view.snapshot().clone(),
        Err(_) => PollSnapshot { poll, tally },
    };
    let location = format!("/polls/{}", snapshot.poll.id);
    let poll = PollBody::new(&snapshot, now, true);
    let body = CreatedPoll { poll, owner_token: owner_token.reveal().to_owned() };
    let mut response = json_response(StatusCode::CREATED, &body)?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Closes a poll, for its owner.
pub(crate) async fn close(service: &Service, caller: Caller<'_>, poll: Option<PollId>) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let poll = owned_poll(service, caller, poll).await?;
    let (polls, bus, now) = (Arc::clone(&service.polls), Arc::clone(&service.bus), service.clock.now());
    let change = async move {
        let snapshot = polls.close(poll, now).await?;
        announce(&*bus, poll).await;
        Ok(snapshot)
    };
    let snapshot = store_calls::write(service, change).await?.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
    json_response(StatusCode::OK, &PollBody::new(&snapshot, now, true))
}

/// Archives a poll, for its owner.
pub(crate) async fn archive(service: &Service, caller: Caller<'_>, poll: Option<PollId>) -> Result<Response, Problem> {
    let poll = owned_poll(service, caller, poll).await?;
    let (polls, bus) = (Arc::clone(&service.polls), Arc::clone(&service.bus));
    let change = async move {
        let existed = polls.archive(poll).await?;
        announce(&*bus, poll).await;
        Ok(existed)
    };
    if store_calls::write(service, change).await? {
        Ok(Response::builder().status(StatusCode::NO_CONTENT).finish())
    } else {
        Err(Problem::new(ProblemKind::PollNotFound))
    }
}

fn require_api_key(service: &Service, caller: Caller<'_>) -> Result<(), Problem> {
    if service.access.api_keys.is_empty() {
        return Ok(());
    }
    let in_header = caller.headers.get(API_KEY_HEADER).and_then(|value| value.to_str().ok());
    match in_header.or_else(|| caller.bearer()) {
        Some(key) if service.access.admits(key) => Ok(()),
        Some(_) => Err(Problem::with_detail(ProblemKind::Forbidden, "The API key is not known to this server.")),
        None => Err(Problem::with_detail(ProblemKind::Unauthorized, "Creating a poll needs an API key.")),
    }
}

/// The poll, when the caller is its owner.
async fn owned_poll(service: &Service, caller: Caller<'_>, poll: Option<PollId>) -> Result<PollId, Problem> {
    let view = store_calls::existing_poll(service, poll).await?;
    let poll = &view.snapshot().poll;
    match caller.bearer() {
        Some(token) if OwnerToken::matches(token, &poll.owner) => Ok(poll.id),
        Some(_) => Err(Problem::with_detail(ProblemKind::Forbidden, "The token is not the owner token of this poll.")),
        None => Err(Problem::with_detail(ProblemKind::Unauthorized, "This needs the owner token of the poll.")),
    }
}

/// Tells this server and the others, in the task of the change itself: so it is told even when the client has gone away. They
/// find out from the store should the news be lost.
async fn announce(bus: &dyn UpdateBus, poll: PollId) {
    if let Err(error) = bus.publish(vec![Update::Changed(poll)]).await {
        metrics::counter!("polling_publications_failed_total").increment(1);
        tracing::debug!(error = &error as &dyn std::error::Error, "a change of a poll was not published");
    }
}
