//! Counts votes from a shared log in a shared store: the worker behind the binary of the same name.
//!
//! It holds no rule of its own. It opens what the configuration names and runs the counting loop of `polling-core`.

mod admin;
mod bounded;
pub mod config;
pub mod operator;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use polling_core::clock::SystemClock;
use polling_core::ingest::Ingest;
use polling_core::open::{Backends, OpenError};
use polling_core::operate::exit::{Exit, chain};
use polling_core::operate::patience::open_patiently;
use polling_core::operate::telemetry::{self, PrometheusHandle, keep_up};
use polling_core::operate::{environment, health, logging, signals};
use polling_core::shutdown::Shutdown;
use thiserror::Error;
use tokio::sync::watch;

use crate::admin::{Counting, Told};
use crate::config::{Action, Config, ConfigError};

/// How long a transaction that has begun is waited for when the worker stops: many times what one takes. The partitions go to others
/// within five seconds of a signal, whatever the store does.
const LAST_BATCH: Duration = Duration::from_secs(1);
/// How long the log and the store may take to let go: the partitions must be another's within 5 s, and this is their part of it.
const CLOSING: Duration = Duration::from_secs(3);
/// How long a probe that is being answered may take to end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
/// How long threads that wait for a broker are waited for in the end. Nobody needs what they bring.
const LEFT_BEHIND: Duration = Duration::from_millis(500);

/// Why a worker did not start.
#[derive(Debug, Error)]
pub enum WorkError {
    /// A backend cannot be opened, and waiting does not help.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address of the admin listener cannot be listened on.
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
}

impl WorkError {
    /// How to end the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Open(error) => error.exit(),
            Self::Bind { .. } => Exit::Unavailable,
            Self::Telemetry(_) => Exit::Internal,
        }
    }
}

/// Does what the arguments ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Exit {
    let environment = match environment::read(environment) {
        Ok(environment) => environment,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Configuration;
        }
    };
    let (action, config) = match Config::read(arguments, &environment) {
        Ok(read) => read,
        Err(errors) => return explain(&errors),
    };
    let filter = match logging::filter(environment.get("RUST_LOG").map(String::as_str)) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: RUST_LOG cannot be used: {error}");
            return Exit::Configuration;
        }
    };
    match action {
        Action::Work => {
            logging::start(config.log_format, filter);
            tracing::info!(configuration = config.printed.trim_end().replace('\n', "; "), "starting");
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            work_until_signalled(&config)
        }
        Action::CheckHealth => check_health(&config),
        Action::Audit(order) => {
            logging::start(config.log_format, filter);
            until_signalled(|shutdown| operator::audit(&config, &order, shutdown)).unwrap_or_else(|exit| exit)
        }
        Action::Recount(order) => {
            logging::start(config.log_format, filter);
            until_signalled(|shutdown| operator::recount(&config, &order, shutdown)).unwrap_or_else(|exit| exit)
        }
    }
}

fn explain(errors: &[ConfigError]) -> Exit {
    for error in errors {
        if let ConfigError::CommandLine(error) = error {
            // Nobody is left to be told when even this fails.
            let _unprintable = error.print();
            return if error.use_stderr() { Exit::Configuration } else { Exit::Success };
        }
        eprintln!("error: {}", chain(error));
    }
    Exit::Configuration
}

fn check_health(config: &Config) -> Exit {
    let Some(address) = config.admin_listen else {
        eprintln!("error: the admin listener is turned off, so there is nobody to ask");
        return Exit::Configuration;
    };
    match health::check(address) {
        Ok(()) => Exit::Success,
        Err(reason) => {
            eprintln!("not ready: {reason}");
            Exit::Unhealthy
        }
    }
}

/// Runs until the end, and tells the work when a signal wants it to stop. `Err`: it was not begun.
fn until_signalled<T>(work: impl AsyncFnOnce(Shutdown) -> T) -> Result<T, Exit> {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to start the runtime");
            return Err(Exit::Internal);
        }
    };
    let worked = runtime.block_on(async {
        let shutdown = Shutdown::new();
        if let Err(error) = signals::listen(shutdown.clone()) {
            // A process that cannot be told to stop can still be killed, and loses nothing by it.
            tracing::error!(error = &error as &dyn std::error::Error, "signals cannot be listened for");
        }
        work(shutdown).await
    });
    runtime.shutdown_timeout(LEFT_BEHIND);
    Ok(worked)
}

fn work_until_signalled(config: &Config) -> Exit {
    match until_signalled(async |shutdown| work(config, shutdown).await) {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            Exit::Success
        }
        Ok(Err(error)) => {
            tracing::error!("{}", chain(&error));
            error.exit()
        }
        Err(exit) => exit,
    }
}

/// Waits for the backends, and counts what comes out of the log until `shutdown` is requested. A transaction that has begun is
/// finished within a second or given up, and the partitions are handed over at once.
///
/// # Errors
///
/// See [`WorkError`].
///
/// # Cancellation
///
/// Dropping the future loses nothing: whoever counts next begins where the store stands.
pub async fn work(config: &Config, shutdown: Shutdown) -> Result<(), WorkError> {
    let metrics = metrics().map_err(WorkError::Telemetry)?;
    let upkeep = tokio::spawn(keep_up(metrics.clone()));
    let (counting, told_counting) = watch::channel(None);
    let admin_stop = Shutdown::new();
    let admin = match config.admin_listen {
        Some(address) => {
            let listener = admin::bind(address).await.map_err(|cause| WorkError::Bind { address, cause })?;
            let told = Told { counting: told_counting, metrics, shutdown: shutdown.clone() };
            Some(tokio::spawn(admin::serve(listener, told, admin_stop.clone())))
        }
        None => None,
    };
    let opened = open_patiently(&config.urls, &shutdown).await;
    if let Ok(Some(backends)) = &opened {
        let ingest = Ingest::new(backends.source.clone(), backends.tallies.clone(), backends.bus.clone());
        let (troubled, warned) = (backends.clone(), backends.clone());
        let log_trouble = Arc::new(move || troubled.log_trouble());
        let log_warning = Arc::new(move || warned.log_warning());
        counting.send_replace(Some(Counting { health: ingest.health(), log_trouble, log_warning }));
        let (watched, until) = (backends.clone(), shutdown.clone());
        tokio::spawn(async move { watched.watch_backlog(Arc::new(SystemClock), until).await });
        count_until(ingest, shutdown).await;
        let_go(backends).await;
    }
    upkeep.abort();
    admin_stop.request();
    if let Some(mut admin) = admin
        && tokio::time::timeout(ADMIN_DRAIN, &mut admin).await.is_err()
    {
        // Somebody has begun a request and does not end it.
        admin.abort();
    }
    opened.map(|_| ()).map_err(WorkError::from)
}

/// Counts until `shutdown` is requested. What is begun then is finished, unless the store takes too long: whoever has the partitions next
/// finds out from the store what became of it.
async fn count_until(ingest: Ingest, shutdown: Shutdown) {
    let patience = async {
        shutdown.requested().await;
        tokio::time::sleep(LAST_BATCH).await;
    };
    tokio::select! {
        () = ingest.run(shutdown.clone()) => {}
        () = patience => tracing::warn!("the store did not answer in time; the partitions are handed over without it"),
    }
}

async fn let_go(backends: &Backends) {
    if tokio::time::timeout(CLOSING, backends.shut_down()).await.is_err() {
        tracing::error!("the log or the store did not close in time; nothing that was acknowledged is lost by that");
    }
}

/// Starts recording metrics, unless that was done before.
fn metrics() -> Result<PrometheusHandle, String> {
    telemetry::start(env!("CARGO_PKG_VERSION"), || {})
}
