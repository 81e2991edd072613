//! The server as a process: arguments in, exit code out.

use std::ffi::OsString;
use std::io::Write as _;

use polling_core::open::Migrated;
use polling_core::operate::logging::{self, Filter, LogFormat};
use polling_core::operate::{environment, health, signals};
use polling_core::settings::Settings;
use polling_core::shutdown::Shutdown;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::openapi_document;
use crate::command::{Action, VERSION, parse};
use crate::config::{Config, ConfigError, SETTINGS};
use crate::exit::{Exit, chain};
use crate::run::{Listeners, Opened, RunError, routes, run_opened};
use crate::serve::Drained;

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
    let invocation = match parse(SETTINGS, arguments, &environment) {
        Ok(invocation) => invocation,
        Err(declined) => return declined.explain(),
    };
    let configured = |act: fn(&Config, Filter) -> Exit| {
        let filter = logging::filter(environment.get("RUST_LOG").map(String::as_str));
        with_configuration(&invocation.settings, filter.map_err(|error| format!("RUST_LOG cannot be used: {error}")), act)
    };
    match invocation.action {
        Action::Serve => configured(|config, filter| {
            logging::start(config.log_format, filter);
            serve(config)
        }),
        Action::PrintConfiguration => configured(|config, _| print(&config.printed)),
        Action::CheckConfiguration => configured(|_, _| print("the configuration is sound\n")),
        Action::Migrate => match logging::filter(environment.get("RUST_LOG").map(String::as_str)) {
            Ok(filter) => {
                logging::start(LogFormat::Text, filter);
                migrate(&invocation.settings)
            }
            Err(error) => {
                eprintln!("error: RUST_LOG cannot be used: {error}");
                Exit::Configuration
            }
        },
        Action::PrintDocument => configured(|_, _| print(&openapi_document())),
        Action::CheckHealth => configured(|config, _| check_health(config)),
    }
}

/// Acts, unless there are mistakes in the configuration; then it prints all of them.
fn with_configuration(settings: &Settings, filter: Result<Filter, String>, act: fn(&Config, Filter) -> Exit) -> Exit {
    match (Config::check(settings), filter) {
        (Ok(config), Ok(filter)) => act(&config, filter),
        (config, filter) => {
            explain(&config.err().unwrap_or_default());
            if let Err(mistake) = filter {
                eprintln!("error: {mistake}");
            }
            Exit::Configuration
        }
    }
}

fn explain(mistakes: &[ConfigError]) {
    mistakes.iter().for_each(|mistake| eprintln!("error: {}", chain(mistake)));
}

fn print(text: &str) -> Exit {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Io,
    }
}

fn migrate(settings: &Settings) -> Exit {
    let urls = match Config::check_urls(settings) {
        Ok(urls) => urls,
        Err(mistakes) => {
            explain(&mistakes);
            return Exit::Configuration;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("error: failed to start the runtime: {cause}");
            return Exit::Internal;
        }
    };
    match runtime.block_on(polling_core::open::migrate(&urls)) {
        Ok(Migrated::Versions(from, to)) if from == to => print(&format!("the tables have version {to} already\n")),
        Ok(Migrated::Versions(0, to)) => print(&format!("the tables were made, in version {to}\n")),
        Ok(Migrated::Versions(from, to)) => print(&format!("the tables were brought from version {from} to {to}\n")),
        Ok(_) => print("this store needs no migration: it brings itself up to date when it is opened\n"),
        Err(error) => {
            let error = RunError::Open(error);
            eprintln!("error: {}", chain(&error));
            error.exit()
        }
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
    // A write beyond the limit on the size of files then fails as on a full disk, and does not end the process.
    if let Err(error) = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) {
        tracing::warn!(error = &error as &dyn std::error::Error, "a limit on the size of files would end the process");
    }
    // Opened before it is bound: whoever can connect is served at once.
    let Some(opened) = Opened::open(config, &shutdown).await? else { return Ok(Drained::Clean) };
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
