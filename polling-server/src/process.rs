//! The server as a process: arguments in, exit code out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;

use polling_core::operate::{health, logging, signals};
use polling_core::shutdown::Shutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api::openapi_document;
use crate::command::{Action, VERSION, parse};
use crate::config::{Config, SETTINGS};
use crate::exit::{Exit, chain};
use crate::run::{Listeners, Opened, RunError, routes, run_opened};
use crate::serve::Drained;

/// Does what the arguments ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: impl IntoIterator<Item = (String, String)>) -> Exit {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let invocation = match parse(SETTINGS, arguments, &environment) {
        Ok(invocation) => invocation,
        Err(declined) => return declined.explain(),
    };
    let filter = logging::filter(environment.get("RUST_LOG").map(String::as_str));
    let filter = filter.map_err(|error| format!("RUST_LOG cannot be used: {error}"));
    let config = Config::check(&invocation.settings);
    let (config, filter) = match (config, filter) {
        (Ok(config), Ok(filter)) => (config, filter),
        (config, filter) => {
            let mistakes = config.err().unwrap_or_default().iter().map(|error| chain(error)).collect::<Vec<_>>();
            for mistake in mistakes.into_iter().chain(filter.err()) {
                eprintln!("error: {mistake}");
            }
            return Exit::Configuration;
        }
    };
    match invocation.action {
        Action::Serve => {
            logging::start(config.log_format, filter);
            serve(&config)
        }
        Action::PrintConfiguration => print(&config.printed),
        Action::CheckConfiguration => print("the configuration is sound\n"),
        Action::PrintDocument => print(&openapi_document()),
        Action::CheckHealth => check_health(&config),
    }
}

fn print(text: &str) -> Exit {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Io,
    }
}

fn check_health(config: &Config) -> Exit {
    let Some(address) = config.admin_listen else {
        eprintln!("error: the admin listener is turned off, so there is nobody to ask");
        return Exit::Configuration;
    };
    match health::check(address) {
        Ok(()) => print("ready\n"),
        Err(reason) => {
            eprintln!("not ready: {reason}");
            Exit::Unhealthy
        }
    }
}

fn serve(config: &Config) -> Exit {
    tracing::info!(version = VERSION, configuration = config.printed.trim_end().replace('\n', "; "), "starting");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files(config);
    let served = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(until_signalled(config)),
        Err(cause) => {
            tracing::error!(error = &cause as &dyn std::error::Error, "failed to start the runtime");
            return Exit::Internal;
        }
    };
    match served {
        Ok(_) => {
            tracing::info!("stopped");
            Exit::Success
        }
        Err(error) => {
            tracing::error!("{}", chain(&error));
            error.exit()
        }
    }
}

async fn until_signalled(config: &Config) -> Result<Drained, RunError> {
    let shutdown = Shutdown::new();
    if let Err(error) = signals::listen(shutdown.clone()) {
        // A process that cannot be told to stop can still be killed, and loses nothing by it.
        tracing::error!(error = &error as &dyn std::error::Error, "signals cannot be listened for");
    }
    // Opened before it is bound: whoever can connect is served at once.
    let opened = Opened::open(config).await?;
    let listeners = Listeners::bind(config).await?;
    run_opened(config, opened, listeners, routes, shutdown).await
}

/// Connections need file descriptors, and the usual soft limit of 1,024 is far below what the bounds allow.
fn raise_open_files(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    // When raising it fails, the old limit is in force and the warning below is right.
    let _unraised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let wanted = (config.limits.connections_max + config.live.sockets_max) as u64;
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|&allowed| allowed < wanted) {
        tracing::warn!(allowed, wanted, "the system allows fewer open files than connections-max and sockets-max need");
    }
}
