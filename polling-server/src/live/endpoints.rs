//! The addresses of the sockets and of the streams of events.

use std::sync::Arc;

use poem::{Request, Response};
use polling_core::model::{PollId, Version};
use polling_core::shutdown::Shutdown;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::events::{EVENT_STREAM, Topic, event_stream};
use super::handshake::{Doorkeeper, Place, upgrade};
use super::hub::Hub;
use super::session::Session;
use super::viewer::Viewer;
use crate::api::negotiation::require_acceptable;
use crate::api::parameter::{query_parameter, whole_number};
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_kind::ProblemKind;
use crate::api::store_calls;
use crate::service::Service;
use crate::transport::client_address::client_address;
use crate::transport::flow::Flow;

/// What a client that comes back to a stream says it has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// Opens sockets and streams of events.
pub struct Live {
    service: Arc<Service>,
    hub: Arc<Hub>,
    doorkeeper: Arc<Doorkeeper>,
    shutdown: Shutdown,
    sockets: TaskTracker,
}

impl Live {
    /// Opens sockets and streams to this hub until `shutdown` is requested, which also closes those that are open. Each keeps a
    /// token of `sockets` as long as it is open.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        hub: Arc<Hub>,
        doorkeeper: Arc<Doorkeeper>,
        shutdown: Shutdown,
        sockets: TaskTracker,
    ) -> Self {
        Self { service, hub, doorkeeper, shutdown, sockets }
    }

    /// `GET /polls/{id}/live`; `None` for what cannot be the name of a poll.
    ///
    /// # Errors
    ///
    /// `forbidden`, `poll-not-found`, `validation`, `rate-limited`, `unavailable`, all before the upgrade.
    pub async fn poll(&self, request: &Request, poll: Option<PollId>) -> Result<Response, Problem> {
        let poll = poll.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
        self.check_origin(request)?;
        let after = after(request)?;
        let watched = self.viewer(request, Some(poll))?.watch_poll(poll).await?;
        let (place, shutdown) = (self.enter(request)?, self.shutdown.clone());
        Ok(upgrade(request, move |socket| Session::new(socket, None, place).show_poll(poll, watched, after, shutdown)))
    }

    /// `GET /leaderboard/live`.
    ///
    /// # Errors
    ///
    /// `forbidden`, `rate-limited`, `unavailable`, all before the upgrade.
    pub async fn leaderboard(&self, request: &Request) -> Result<Response, Problem> {
        self.check_origin(request)?;
        let hub = Arc::clone(&self.hub);
        let (first, frames) = store_calls::read(&self.service, async move { hub.watch_leaderboard().await }).await?;
        let (place, shutdown) = (self.enter(request)?, self.shutdown.clone());
        Ok(upgrade(request, move |socket| Session::new(socket, None, place).show_leaderboard(first, frames, shutdown)))
    }

    /// `GET /live`.
    ///
    /// # Errors
    ///
    /// `forbidden`, `validation`, `rate-limited`, `unavailable`, all before the upgrade.
    pub fn multiplexed(&self, request: &Request) -> Result<Response, Problem> {
        self.check_origin(request)?;
        let viewer = self.viewer(request, None)?;
        let (place, shutdown) = (self.enter(request)?, self.shutdown.clone());
        Ok(upgrade(request, move |socket| Session::new(socket, Some(viewer), place).show_on_request(shutdown)))
    }

    /// `GET /polls/{id}/events`; `None` for what cannot be the name of a poll.
    ///
    /// # Errors
    ///
    /// `forbidden`, `poll-not-found`, `not-acceptable`, `validation`, `rate-limited`, `unavailable`.
    pub async fn poll_events(&self, request: &Request, poll: Option<PollId>) -> Result<Response, Problem> {
        let poll = poll.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
        self.check_origin(request)?;
        require_acceptable(request.headers(), EVENT_STREAM)?;
        let after = last_seen(request)?;
        let watched = self.viewer(request, Some(poll))?.watch_poll(poll).await?;
        Ok(event_stream(Topic::poll(poll, watched, after), flow(request), self.enter(request)?, self.shutdown.clone()))
    }

    /// `GET /leaderboard/events`.
    ///
    /// # Errors
    ///
    /// `forbidden`, `not-acceptable`, `validation`, `rate-limited`, `unavailable`.
    pub async fn leaderboard_events(&self, request: &Request) -> Result<Response, Problem> {
        self.check_origin(request)?;
        require_acceptable(request.headers(), EVENT_STREAM)?;
        let after = last_seen(request)?;
        let hub = Arc::clone(&self.hub);
        let (first, frames) = store_calls::read(&self.service, async move { hub.watch_leaderboard().await }).await?;
        Ok(event_stream(Topic::board(&first, frames, after), flow(request), self.enter(request)?, self.shutdown.clone()))
    }

    /// Refuses pages of other sites, before anything is read for them.
    fn check_origin(&self, request: &Request) -> Result<(), Problem> {
        self.doorkeeper.check_origin(request.headers())
    }

    fn viewer(&self, request: &Request, of: Option<PollId>) -> Result<Viewer, Problem> {
        Viewer::new(Arc::clone(&self.service), Arc::clone(&self.hub), request, of)
    }

    fn enter(&self, request: &Request) -> Result<(Place, TaskTrackerToken), Problem> {
        if self.shutdown.is_requested() {
            return Err(Problem::with_detail(ProblemKind::Unavailable, "the server is stopping"));
        }
        Ok((self.doorkeeper.enter(client_address(request))?, self.sockets.token()))
    }
}

/// What the client says it has seen: `?after=EPOCH.VERSION`.
fn after(request: &Request) -> Result<Option<Version>, Problem> {
    let Some(value) = query_parameter(request, "after") else { return Ok(None) };
    let error = || Problem::validation(vec![FieldError::of_parameter("after", "must be EPOCH.VERSION")]);
    version(&value).map(Some).ok_or_else(error)
}

/// The same of a stream, to which a client comes back with the id of its last event: that is newer than what the address says. An
/// id that is none of ours says nothing.
fn last_seen(request: &Request) -> Result<Option<Version>, Problem> {
    let after = after(request)?;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| version(id.to_str().ok()?));
    Ok(last.or(after))
}

fn version(text: &str) -> Option<Version> {
    let (epoch, number) = text.split_once('.')?;
    Some(Version { epoch: whole_number(epoch)?, number: whole_number(number)? })
}

/// What our accept loop says of the connection; others say nothing.
fn flow(request: &Request) -> Option<Flow> {
    request.extensions().get::<Flow>().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_numbers_of_nothing_but_digits() {
        assert_eq!(version("1.5"), Some(Version { epoch: 1, number: 5 }));
        assert_eq!(version("0.18446744073709551615"), Some(Version { epoch: 0, number: u64::MAX }));
        for text in ["", ".", "1", "1.", ".1", "1.2.3", "+1.2", "1.+2", " 1.2", "1.2 ", "-1.2", "1,2", "0.18446744073709551616"] {
            assert_eq!(version(text), None, "{text:?}");
        }
    }
}
