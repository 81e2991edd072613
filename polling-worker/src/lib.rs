//! Counts votes from a shared log in a shared store: the worker behind the binary of the same name.
//!
//! It holds no rule of its own. It opens what the configuration names and runs the counting loop of `polling-core`.

pub mod config;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::IsTerminal;

use polling_core::ingest::Ingest;
use polling_core::open::{Backends, open};
use polling_core::shutdown::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat};

/// Exit codes, those of `sysexits.h`.
const SUCCESS: u8 = 0;
const CONFIGURATION: u8 = 64;
const UNAVAILABLE: u8 = 69;
const INTERNAL: u8 = 70;

/// Does what the arguments ask for; answers the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: impl IntoIterator<Item = (String, String)>) -> u8 {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let config = match Config::read(arguments, &environment) {
        Ok(config) => config,
        Err(errors) => return explain(&errors),
    };
    let directives = environment.get("RUST_LOG").filter(|text| !text.is_empty()).map_or("info", String::as_str);
    match EnvFilter::try_new(directives) {
        Ok(filter) => start_log(config.log_format, filter),
        Err(error) => {
            eprintln!("error: RUST_LOG cannot be used: {error}");
            return CONFIGURATION;
        }
    }
    tracing::info!(configuration = config.printed.trim_end().replace('\n', "; "), "starting");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(until_signalled(&config)),
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "failed to start the runtime");
            INTERNAL
        }
    }
}

fn explain(errors: &[ConfigError]) -> u8 {
    for error in errors {
        match error {
            ConfigError::CommandLine(error) => {
                // Nobody is left to be told when even this fails.
                let _unprintable = error.print();
                return if error.use_stderr() { CONFIGURATION } else { SUCCESS };
            }
            error => match error.source() {
                Some(cause) => eprintln!("error: {error}: {cause}"),
                None => eprintln!("error: {error}"),
            },
        }
    }
    CONFIGURATION
}

fn start_log(format: LogFormat, filter: EnvFilter) {
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    // Somebody else's log, when this runs in another program, is as good.
    let _started_before = if json { builder.json().try_init() } else { builder.with_ansi(terminal).try_init() };
}

async fn until_signalled(config: &Config) -> u8 {
    let shutdown = Shutdown::new();
    if let Err(error) = listen_for_signals(shutdown.clone()) {
        tracing::error!(error = &error as &dyn Error, "signals cannot be listened for");
    }
    match open(&config.urls).await {
        Ok(backends) => {
            count(backends, shutdown).await;
            tracing::info!("stopped");
            SUCCESS
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "failed to start");
            if error.is_configuration() { CONFIGURATION } else { UNAVAILABLE }
        }
    }
}

/// Counts what comes out of the log until `shutdown` is requested or the log is closed. A transaction that has begun is finished.
///
/// Dropping the future loses nothing: whoever counts next begins where the store stands.
pub async fn count(backends: Backends, shutdown: Shutdown) {
    let Backends { source, tallies, bus, .. } = backends;
    Ingest::new(source, tallies, bus).run(shutdown).await;
}

/// The first SIGTERM or SIGINT requests the shutdown, the second ends the process where it stands.
fn listen_for_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let (name, number) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 15),
                _ = interrupt.recv() => ("SIGINT", 2),
            };
            if shutdown.is_requested() {
                tracing::warn!("stopping at once on a second {name}");
                std::process::exit(128 + number);
            }
            tracing::info!("stopping on {name}; a second one stops at once");
            shutdown.request();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use polling_core::open::Urls;

    use super::*;

    async fn backends() -> Backends {
        let memory = || "memory:".to_owned();
        open(&Urls { log: memory(), store: memory(), bus: memory(), data_dir: "unused".into() }).await.expect("memory")
    }

    #[tokio::test]
    async fn counting_ends_when_it_is_told_to() {
        let shutdown = Shutdown::new();
        shutdown.request();
        count(backends().await, shutdown).await;
    }

    #[tokio::test]
    async fn counting_ends_with_the_log() {
        let backends = backends().await;
        backends.memory_log.as_ref().expect("in this process").close();
        count(backends, Shutdown::new()).await;
    }
}
