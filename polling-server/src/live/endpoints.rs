//! The addresses of the sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use poem::web::RemoteAddr;
use poem::{Request, Response};
use polling_core::model::{PollId, Version};
use polling_core::shutdown::Shutdown;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::handshake::{Doorkeeper, Place, upgrade};
use super::hub::Hub;
use super::session::Session;
use crate::api::parameter::query_parameter;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_kind::ProblemKind;
use crate::api::store_calls;
use crate::service::Service;

/// Opens sockets.
pub struct Live {
    hub: Arc<Hub>,
    doorkeeper: Arc<Doorkeeper>,
    shutdown: Shutdown,
    sockets: TaskTracker,
}

impl Live {
    /// Opens sockets to this hub until `shutdown` is requested, which also closes those that are open. Each keeps a token of
    /// `sockets` as long as it is open.
    #[must_use]
    pub fn new(hub: Arc<Hub>, doorkeeper: Arc<Doorkeeper>, shutdown: Shutdown, sockets: TaskTracker) -> Self {
        Self { hub, doorkeeper, shutdown, sockets }
    }

    /// Sockets that are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.doorkeeper.inside()
    }

    /// Refuses pages of other sites, as each of the calls below does.
    ///
    /// # Errors
    ///
    /// `forbidden`.
    pub fn check_origin(&self, request: &Request) -> Result<(), Problem> {
        self.doorkeeper.check_origin(request.headers())
    }

    /// `GET /polls/{id}/live`. `insider` says whether the viewer may see hidden results; `service` is where the poll is.
    ///
    /// # Errors
    ///
    /// `forbidden`, `poll-not-found`, `validation`, `rate-limited`, `unavailable`, all before the upgrade.
    pub async fn poll(&self, service: &Service, request: &Request, poll: PollId, insider: bool) -> Result<Response, Problem> {
        self.check_origin(request)?;
        let after = after(request)?;
        let hub = Arc::clone(&self.hub);
        let watched = store_calls::read(service, async move { hub.watch_poll(poll).await }).await?;
        let watched = watched.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
        let place = self.enter(request)?;
        let (hub, shutdown) = (Arc::clone(&self.hub), self.shutdown.clone());
        Ok(upgrade(request, move |socket| async move {
            Session::new(socket, hub, false).show_poll(poll, watched, after, insider, shutdown).await;
            drop(place);
        }))
    }

    /// `GET /leaderboard/live`.
    ///
    /// # Errors
    ///
    /// `forbidden`, `rate-limited`, `unavailable`, all before the upgrade.
    pub fn leaderboard(&self, request: &Request) -> Result<Response, Problem> {
        self.check_origin(request)?;
        let place = self.enter(request)?;
        let (hub, shutdown) = (Arc::clone(&self.hub), self.shutdown.clone());
        Ok(upgrade(request, move |socket| async move {
            Session::new(socket, hub, false).show_leaderboard(shutdown).await;
            drop(place);
        }))
    }

    /// `GET /live`.
    ///
    /// # Errors
    ///
    /// `forbidden`, `rate-limited`, `unavailable`, all before the upgrade.
    pub fn multiplexed(&self, request: &Request) -> Result<Response, Problem> {
        self.check_origin(request)?;
        let place = self.enter(request)?;
        let (hub, shutdown) = (Arc::clone(&self.hub), self.shutdown.clone());
        Ok(upgrade(request, move |socket| async move {
            Session::new(socket, hub, true).show_on_request(shutdown).await;
            drop(place);
        }))
    }

    fn enter(&self, request: &Request) -> Result<(Place, TaskTrackerToken), Problem> {
        if self.shutdown.is_requested() {
            return Err(Problem::with_detail(ProblemKind::Unavailable, "the server is stopping"));
        }
        Ok((self.doorkeeper.enter(address(request.remote_addr()))?, self.sockets.token()))
    }
}

fn address(remote: &RemoteAddr) -> IpAddr {
    remote.as_socket_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), std::net::SocketAddr::ip)
}

/// What the client says it has seen: `?after=EPOCH.VERSION`.
fn after(request: &Request) -> Result<Option<Version>, Problem> {
    let Some(value) = query_parameter(request, "after") else { return Ok(None) };
    let version = value
        .split_once('.')
        .and_then(|(epoch, number)| Some(Version { epoch: epoch.parse().ok()?, number: number.parse().ok()? }));
    version.map(Some).ok_or_else(|| Problem::validation(vec![FieldError::of_parameter("after", "must be EPOCH.VERSION")]))
}
