//! The server as a whole: what is opened, what runs, and in which order it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::UpdateBus;
use polling_core::clock::{Clock, SystemClock};
use polling_core::ingest::Ingest;
use polling_core::open::{Backends, OpenError};
use polling_core::operate::patience::open_patiently;
use polling_core::operate::telemetry::keep_up;
use polling_core::schedule::Scheduler;
use polling_core::secret::Secret;
use polling_core::shutdown::Shutdown;
use polling_core::store::PollStore;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::clock_watch::{ClockTrouble, StoreTime};
use crate::config::Config;
use crate::credentials::{CredentialError, check_secret, keep_check, kept_secret};
use crate::exit::Exit;
use crate::live::board::Board;
use crate::live::endpoints::Live;
use crate::live::follow::follow;
use crate::live::handshake::{Doorkeeper, SocketLimits};
use crate::live::hub::Hub;
use crate::live::routes::with_sockets;
use crate::live::through::ThroughHub;
use crate::live::views::Views;
use crate::readiness::{Readiness, SharedLog};
use crate::serve::{Drained, Limits, Transport, serve};
use crate::service::Service;
use crate::store_watch::{StoreTrouble, WatchedPolls};
use crate::tasks::Tasks;
use crate::telemetry;
use crate::transport::client_address::TrustedProxies;
use crate::transport::requests::Requests;
use crate::transport::served::{Plain, Served};

/// Connections of the admin listener: some probes and scrapers, and no more, so that it can be left open within a cluster.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long live sockets may take to say goodbye, once they have been told: their close frames are staggered over less.
const SOCKETS_DRAIN: Duration = Duration::from_secs(5);
/// How long the store may take to close: longer than one transaction.
const STORE_DRAIN: Duration = Duration::from_secs(5);
/// How long a request to the admin listener may take to end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// The name of the listener that the server is there for.
const THE_API: &str = "the API";

/// Why the server did not start, or stopped by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// The data folder cannot be made.
    #[error("failed to make the data folder {path:?}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The secret cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A backend cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Metrics cannot be recorded.
    #[error("failed to record metrics: {0}")]
    Telemetry(String),
    /// A part of the server ended while it was needed.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// It was told to stop, and the store did not take the last votes. Their senders were told that the outcome is unknown.
    #[error("failed to count the last votes before the end")]
    Uncounted,
}

impl RunError {
    /// How to end the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::DataDir { .. } => Exit::Io,
            Self::Credential(error) if error.is_configuration() => Exit::Configuration,
            Self::Credential(_) => Exit::Io,
            Self::Open(error) => error.exit(),
            Self::Bind { .. } => Exit::Unavailable,
            Self::Telemetry(_) | Self::Ended(_) => Exit::Internal,
            Self::Uncounted => Exit::Interrupted,
        }
    }
}

/// The sockets to listen on.
#[derive(Debug)]
pub struct Listeners {
    /// For the API and the page.
    pub api: TcpListener,
    /// For health and metrics.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the configuration.
    ///
    /// # Errors
    ///
    /// When one of them is in use, or is not of this machine.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let api = bind(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Self { api, admin })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|cause| RunError::Bind { address, cause })
}

/// The backends and the secret, opened; nobody can reach them yet.
pub struct Opened {
    backends: Backends,
    secret: Secret,
}

impl Opened {
    /// Backends that were opened in another way, and the secret that goes with what they hold.
    #[must_use]
    pub const fn new(backends: Backends, secret: Secret) -> Self {
        Self { backends, secret }
    }

    /// Makes the data folder and the secret, if need be, and opens the backends; waits for those that cannot be reached yet. `None`
    /// when `shutdown` was requested meanwhile.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used. What was made by then stays.
    pub async fn open(config: &Config, shutdown: &Shutdown) -> Result<Option<Self>, RunError> {
        let data_dir = &config.urls.data_dir;
        make_folder(data_dir).map_err(|cause| RunError::DataDir { path: data_dir.clone(), cause })?;
        let store = data_file(config);
        let secret = match &config.secret {
            Some(secret) => secret.clone(),
            None => kept_secret(data_dir, store.as_deref())?,
        };
        if let Some(store) = &store {
            check_secret(data_dir, store, &secret)?;
        }
        let Some(backends) = open_patiently(&config.urls, shutdown).await? else { return Ok(None) };
        if store.is_some()
            && let Err(error) = keep_check(data_dir, &secret)
        {
            backends.shut_down().await;
            return Err(error.into());
        }
        Ok(Some(Self { backends, secret }))
    }
}

/// Only its owner can look into it: it will have the secret and who voted for what.
fn make_folder(path: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// The file that has the votes, if it is one.
fn data_file(config: &Config) -> Option<PathBuf> {
    let path = config.urls.store.strip_prefix("sqlite:")?;
    let path = path.split('?').next().unwrap_or_default();
    Some(config.urls.data_dir.join(path.strip_prefix("//").unwrap_or(path)))
}

/// What routes are made from.
pub struct Wiring<'a> {
    /// What handlers work with.
    pub service: Arc<Service>,
    /// What live sockets show.
    pub hub: Arc<Hub>,
    /// The configuration.
    pub config: &'a Config,
    /// Is requested when live sockets and event streams are to say goodbye. HTTP requests have until [`Config::drain`].
    pub shutdown: Shutdown,
    /// Every live socket keeps a token of this, and so is waited for.
    pub sockets: TaskTracker,
}

/// Opens everything and serves until `shutdown` is requested; then answers what is in flight, counts what was accepted, and ends.
///
/// # Errors
///
/// See [`RunError`].
///
/// # Cancellation
///
/// Dropping the future leaves tasks behind; request the shutdown instead.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<Drained, RunError> {
    let Some(opened) = Opened::open(&config, &shutdown).await? else { return Ok(Drained::Clean) };
    run_opened(&config, opened, listeners, routes, shutdown).await
}

/// The routes of the public listener.
#[must_use]
pub fn routes(wiring: Wiring<'_>) -> impl Served + use<> {
    let Wiring { service, hub, config, shutdown, sockets } = wiring;
    let limits = SocketLimits { total: config.live.sockets_max, per_address: config.live.sockets_per_address_max };
    let origins = config.origins.iter().filter_map(|origin| origin.to_str().ok()).map(str::to_owned).collect();
    let live = Arc::new(Live::new(Arc::clone(&service), hub, Doorkeeper::new(limits, origins), shutdown, sockets));
    crate::routes::routes(&service, move |route| with_sockets(route, live))
}

/// Like [`run`], with what was opened before and with other routes.
///
/// # Errors
///
/// When a part of the server fails.
pub async fn run_opened<S: Served>(
    config: &Config,
    opened: Opened,
    listeners: Listeners,
    routes: impl FnOnce(Wiring<'_>) -> S,
    shutdown: Shutdown,
) -> Result<Drained, RunError> {
    let metrics = telemetry::start().map_err(RunError::Telemetry)?;
    let backends = opened.backends.clone();
    let memory_log = backends.memory_log.clone();
    let (service, hub, mut tasks, readiness) = start_parts(config, opened);
    let upkeep = tokio::spawn(keep_up(metrics.clone()));

    let admin_stop = Shutdown::new();
    let admin = listeners.admin.map(|listener| {
        announce("admin", &listener);
        let endpoint = Plain(Admin::new(readiness.clone(), metrics, memory_log.clone()));
        let limits = Limits { connections_max: ADMIN_CONNECTIONS_MAX, ..config.limits };
        let transport = Transport { limits, origins: Vec::new(), proxies: TrustedProxies::default(), requests: None };
        tokio::spawn(serve(listener, endpoint, transport, admin_stop.clone(), ADMIN_DRAIN))
    });
    let (api_stop, sockets) = (Shutdown::new(), TaskTracker::new());
    let endpoint =
        routes(Wiring { service: Arc::new(service), hub, config, shutdown: api_stop.clone(), sockets: sockets.clone() });
    let requests = Some(Arc::new(Requests::new()));
    let (limits, origins, proxies) = (config.limits, config.origins.clone(), config.proxies.clone());
    let transport = Transport { limits, origins, proxies, requests };
    announce("API", &listeners.api);
    let mut api = tokio::spawn(serve(listeners.api, endpoint, transport, api_stop.clone(), config.drain));
    readiness.note_serving();

    let ended = tokio::select! {
        () = shutdown.requested() => None,
        part = tasks.first_end() => Some(part),
        _ = &mut api => Some(THE_API),
    };
    readiness.note_draining();
    // Whoever waits for the server to stop learns that it does.
    shutdown.request();
    api_stop.request();
    let drained = if ended == Some(THE_API) { Drained::Clean } else { api.await.unwrap_or(Drained::Clean) };
    log_drained(drained);
    sockets.close();
    if tokio::time::timeout(SOCKETS_DRAIN, sockets.wait()).await.is_err() {
        tracing::warn!(sockets = sockets.len(), "live sockets were cut");
    }
    if let Some(log) = memory_log {
        log.close();
    }
    let all_counted = tasks.stop().await;
    if tokio::time::timeout(STORE_DRAIN, backends.shut_down()).await.is_err() {
        tracing::error!("the store did not close in time; nothing that was acknowledged is lost by that");
    }
    upkeep.abort();
    admin_stop.request();
    if let Some(admin) = admin {
        // How the last probe ended is of no interest.
        let _drained = admin.await;
    }
    match ended {
        Some(part) => Err(RunError::Ended(part)),
        None if !all_counted => Err(RunError::Uncounted),
        None => Ok(drained),
    }
}

/// Puts the parts together and starts those that run by themselves.
fn start_parts(config: &Config, opened: Opened) -> (Service, Arc<Hub>, Tasks, Readiness) {
    let (shared_log, store_time) = (shared_log(&opened.backends), store_time(&opened.backends));
    let Opened { backends: Backends { sink, source, polls, tallies, bus, memory_log, .. }, secret } = opened;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trouble = StoreTrouble::default();
    let polls: Arc<dyn PollStore> = Arc::new(WatchedPolls::new(polls, trouble.clone()));
    let views = Arc::new(Views::new(Arc::clone(&polls), Arc::clone(&clock)));
    let board = Arc::new(Board::new(Arc::clone(&tallies), Arc::clone(&views), Arc::clone(&clock)));
    let hub = Hub::new(Arc::clone(&views), Arc::clone(&board), Arc::clone(&tallies), Arc::clone(&clock), config.live.interval);
    let news: Arc<dyn UpdateBus> = Arc::new(ThroughHub::new(Arc::clone(&hub), Arc::clone(&bus)));
    let mut tasks = Tasks::default();
    let counting = memory_log.map(|_| {
        let ingest = Ingest::new(source, Arc::clone(&tallies), Arc::clone(&news));
        let health = ingest.health();
        tasks.counting.spawn(ingest.run(tasks.counting_stop.clone()));
        health
    });
    let scheduler = Scheduler::new(Arc::clone(&polls), Arc::clone(&news), Arc::clone(&clock));
    let scheduler_handle = scheduler.handle();
    tasks.others.spawn(scheduler.run(tasks.others_stop.clone()));
    tasks.others.spawn(Arc::clone(&hub).run(tasks.others_stop.clone()));
    tasks.others.spawn(trouble.clone().watch(Arc::clone(&tallies), tasks.others_stop.clone()));
    let clock_trouble = ClockTrouble::default();
    let compared = clock_trouble.clone().watch(Arc::clone(&clock), store_time, config.clock_skew_max, tasks.others_stop.clone());
    tasks.others.spawn(compared);
    // What is published on a bus of this process went through the hub already.
    if !config.urls.bus.starts_with("memory:") {
        let (absorbing, losing) = (Arc::clone(&hub), Arc::clone(&hub));
        let absorb = move |updates: &[_]| absorbing.absorb(updates);
        let lost = move || losing.forget_all();
        tasks.others.spawn(Arc::clone(&hub).announce(Arc::clone(&bus), tasks.others_stop.clone()));
        tasks.others.spawn(follow(bus, absorb, lost, tasks.others_stop.clone()));
    }
    let limits = crate::service::Limits { deadline: config.handler_deadline };
    let (scheduler, access) = (scheduler_handle, config.access.clone());
    let service = Service { sink, polls, tallies, bus: news, views, board, secret, clock, scheduler, access, limits };
    (service, hub, tasks, Readiness::new(counting, trouble, shared_log, clock_trouble))
}

/// What there is to know of the log, unless it is in this process.
fn shared_log(backends: &Backends) -> Option<SharedLog> {
    let (troubled, warned) = (backends.clone(), backends.clone());
    let trouble = Arc::new(move || troubled.log_trouble());
    let warning = Arc::new(move || warned.log_warning());
    backends.memory_log.is_none().then_some(SharedLog { trouble, warning })
}

fn store_time(backends: &Backends) -> StoreTime {
    let backends = backends.clone();
    Arc::new(move || {
        let backends = backends.clone();
        Box::pin(async move { backends.store_time().await })
    })
}

fn announce(what: &str, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!("listening on http://{address} ({what})");
    }
}

fn log_drained(drained: Drained) {
    match drained {
        Drained::Clean => tracing::info!("every request in flight was answered"),
        Drained::Cut(connections) => tracing::warn!(connections, "connections were cut: their requests took too long to end"),
    }
}
