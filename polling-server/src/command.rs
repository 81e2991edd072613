//! The command line: from arguments, environment and file to settings and what to do with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use polling_core::settings::{Setting, SettingError, Settings};
use thiserror::Error;

use crate::exit::{EXIT_CODES, Exit};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Serve until told to stop.
    Serve,
    /// Print the effective configuration.
    PrintConfiguration,
    /// Say whether the configuration is sound.
    CheckConfiguration,
    /// Make the tables of the store, or bring them up to date.
    Migrate,
    /// Print the API document.
    PrintDocument,
    /// Ask the server that runs with this configuration whether it is ready.
    CheckHealth,
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub action: Action,
    /// With which settings.
    pub settings: Settings,
}

/// Why there is nothing to do.
#[derive(Debug, Error)]
pub enum Declined {
    /// The command line asks for help or the version, or has a mistake; the error knows what to print, and where.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file cannot be read.
    #[error("failed to read the configuration file {path:?}")]
    File {
        /// Its name.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is not what a configuration file has to be.
    #[error("the configuration file {path:?} cannot be used: {reason}")]
    FileContent {
        /// Its name.
        path: String,
        /// Why, as a sentence without its end.
        reason: String,
    },
    /// Mistakes in the settings.
    #[error("{}", lines(.0))]
    Settings(Vec<SettingError>),
}

impl Declined {
    /// Prints what there is to say, where it belongs, and answers how to end.
    #[must_use]
    pub fn explain(&self) -> Exit {
        match self {
            Self::CommandLine(error) => {
                // Nobody is left to be told when even this fails.
                let _unprintable = error.print();
                if error.use_stderr() { Exit::Configuration } else { Exit::Success }
            }
            error => {
                eprintln!("error: {}", crate::exit::chain(error));
                Exit::Configuration
            }
        }
    }
}

fn lines(errors: &[SettingError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: ")
}

macro_rules! version {
    ($($backend:literal),*) => { concat!(env!("CARGO_PKG_VERSION"), " (backends: memory", $(", ", $backend,)* ")") };
}

/// The version, and what this program was built with.
pub const VERSION: &str = match (cfg!(feature = "sqlite"), cfg!(feature = "postgres"), cfg!(feature = "kafka")) {
    (true, true, true) => version!("sqlite", "postgres", "kafka"),
    (true, true, false) => version!("sqlite", "postgres"),
    (true, false, true) => version!("sqlite", "kafka"),
    (true, false, false) => version!("sqlite"),
    (false, true, true) => version!("postgres", "kafka"),
    (false, true, false) => version!("postgres"),
    (false, false, true) => version!("kafka"),
    (false, false, false) => version!(),
};

const EXAMPLES: &str = "\
Examples:
  polling-server
      one process, no services: votes are kept in ./polling-data/polling.db
  polling-server --listen 0.0.0.0:80 --data-dir /var/lib/polling
  POLLING_ALLOWED_ORIGINS=https://example.org polling-server --config /etc/polling.toml
  polling-server config print --drain 30s
  polling-server migrate --store postgres://owner:password@db:5432/polls
  polling-server openapi > openapi.json
  polling-server healthcheck

A flag is stronger than the environment, the environment than the file, the file than the default.
RUST_LOG chooses what is logged, as in RUST_LOG=polling_server=debug,info.";

/// Reads the command line, then the environment, then the file that one of them names.
///
/// # Errors
///
/// See [`Declined`]; asking for help is one of them.
pub fn parse(
    table: &'static [Setting],
    arguments: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
) -> Result<Invocation, Declined> {
    let matches = command(table).try_get_matches_from(arguments)?;
    let (action, matches) = action(&matches);
    let flags: BTreeMap<String, String> = table
        .iter()
        .filter_map(|setting| Some((setting.name.to_owned(), matches.get_one::<String>(setting.name)?.clone())))
        .collect();
    let named = flags.get("config").or_else(|| environment.get("POLLING_CONFIG"));
    let file = named.map(|path| read_file(path)).transpose()?.unwrap_or_default();
    let settings = Settings::resolve(table, &flags, environment.clone(), &file).map_err(Declined::Settings)?;
    Ok(Invocation { action, settings })
}

fn action(matches: &ArgMatches) -> (Action, &ArgMatches) {
    match matches.subcommand() {
        Some(("config", config)) => match config.subcommand() {
            Some(("check", check)) => (Action::CheckConfiguration, check),
            Some((_, print)) => (Action::PrintConfiguration, print),
            None => (Action::PrintConfiguration, config),
        },
        Some(("migrate", migrate)) => (Action::Migrate, migrate),
        Some(("openapi", document)) => (Action::PrintDocument, document),
        Some((_, health)) => (Action::CheckHealth, health),
        None => (Action::Serve, matches),
    }
}

/// The command with a flag for each setting.
#[must_use]
pub fn command(table: &'static [Setting]) -> Command {
    let config = Command::new("config")
        .about("Print or check the configuration")
        .subcommand_required(true)
        .subcommand(Command::new("print").about("Print the effective configuration and where each value comes from"))
        .subcommand(Command::new("check").about("Check the configuration without opening anything"));
    Command::new("polling-server")
        .about("Live polls over HTTP and WebSocket: votes go in, nothing that was acknowledged is lost, results come out live")
        .version(VERSION)
        .after_help(format!("{EXAMPLES}\n\n{EXIT_CODES}"))
        .args(table.iter().map(flag))
        .subcommand(config)
        .subcommand(
            Command::new("migrate").about("Make the tables of the store, or bring them up to date, and say what was done"),
        )
        .subcommand(Command::new("openapi").about("Print the OpenAPI document of the API"))
        .subcommand(Command::new("healthcheck").about("Exit 0 when the server with this configuration is ready, 1 when not"))
}

fn flag(setting: &Setting) -> Arg {
    let default = setting.default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        // So that a flag may stand behind a subcommand, too.
        .global(true)
        .help(format!("{} [env: {}]{default}", setting.help, setting.variable()))
}

fn read_file(path: &str) -> Result<BTreeMap<String, String>, Declined> {
    let text = std::fs::read_to_string(Path::new(path)).map_err(|cause| Declined::File { path: path.to_owned(), cause })?;
    let unusable = |reason: String| Declined::FileContent { path: path.to_owned(), reason };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| unusable(error.to_string()))?;
    if table.contains_key("config") {
        return Err(unusable("a file cannot name another one".to_owned()));
    }
    table
        .into_iter()
        .map(|(key, value)| match flat(&value) {
            Some(value) => Ok((key, value)),
            None => Err(unusable(format!("{key} must be a text, a number or a list of texts"))),
        })
        .collect()
}

/// The value as it would be written on the command line.
fn flat(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
