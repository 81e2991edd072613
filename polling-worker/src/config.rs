//! The configuration of the worker: what can be set, and what it means once it has been checked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, Command};
use polling_core::open::{OpenError, Urls};
use polling_core::operate::logging::LogFormat;
use polling_core::settings::{Setting, SettingError, Settings};
use thiserror::Error;

use crate::operator::{self, AuditOrder, RecountOrder};

const fn setting(name: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, default, help, secret: false }
}

/// Everything that can be set.
pub const SETTINGS: &[Setting] = &[
    setting("log", Some("memory:"), "URL of the vote log; it must be shared: kafka://BROKER,BROKER/TOPIC"),
    setting("store", Some("memory:"), "URL of the store; it must be shared: postgres://USER@HOST/DATABASE"),
    setting("bus", Some("memory:"), "URL of the update bus; it must be shared: kafka://…/TOPIC or postgres://…"),
    setting("admin-listen", Some("127.0.0.1:8082"), "Address and port of /livez, /readyz and /metrics, or \"none\""),
    setting("data-dir", Some("polling-data"), "Folder that a relative file name is in"),
    setting("config", None, "Configuration file in TOML, with the names of the flags, a-b written a_b"),
    setting("log-format", Some("auto"), "json, text, or auto: text on a terminal and json elsewhere"),
];

const HELP: &str = "\
Examples:
  polling-worker --log kafka://broker1,broker2,broker3/votes \\
                 --store postgres://polling@database/polling --bus postgres://polling@database/polling
  POLLING_STORE=postgres://polling@database/polling polling-worker --config /etc/polling.toml
  polling-worker audit --help

Any number of workers may run: they share the partitions of the log.
A single server needs none, because it counts by itself.

A flag is stronger than the environment, the environment than the file, the file than the default.
RUST_LOG chooses what is logged, as in RUST_LOG=polling_core=debug,info.

Exit codes:
  0    stopped when told to
  64   the configuration is wrong, or a service refuses it
  65   the schema of the store is damaged or from a newer version
  69   a service cannot be used, or a port is in use
  70   the worker failed
  130  stopped at once by a second SIGINT; 143 by a second SIGTERM";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Count until told to stop.
    Work,
    /// Ask the worker that runs with this configuration whether it is ready.
    CheckHealth,
    /// Find out whether what is kept is what was voted.
    Audit(AuditOrder),
    /// Make totals what the vote rows add up to.
    Recount(RecountOrder),
}

impl Action {
    /// Which backends have to be shared, by the names of their settings.
    const fn needs(&self) -> &'static [&'static str] {
        match self {
            Self::Work | Self::CheckHealth => &["log", "store", "bus"],
            Self::Audit(AuditOrder { from_log: true, .. }) => &["log", "store"],
            Self::Audit(_) => &["store"],
            Self::Recount(_) => &["store", "bus"],
        }
    }
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The backends.
    pub urls: Urls,
    /// Where health and metrics are served, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What the log should say about the configuration.
    pub warnings: Vec<String>,
    /// All settings with their origins, redacted.
    pub printed: String,
}

/// Why the worker does not start.
#[derive(Debug, Error)]
pub enum ConfigError {
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
    /// Something that is said to name a poll and does not.
    #[error("--poll is {0:?} and must be the id of a poll")]
    Poll(String),
    /// A mistake in a setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A mistake in the URL of a backend.
    #[error(transparent)]
    Url(#[from] OpenError),
}

impl Config {
    /// Reads the command line, then the environment, then the file that one of them names, and checks every setting.
    ///
    /// # Errors
    ///
    /// All mistakes that can be found without opening anything.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: &BTreeMap<String, String>,
    ) -> Result<(Action, Self), Vec<ConfigError>> {
        let (action, settings) = resolve(arguments, environment)?;
        let mut errors = Vec::new();
        let admin_listen = settings.parsed("admin-listen", "an address with a port, or \"none\"", admin_address);
        let log_format = settings.parsed("log-format", "auto, json or text", LogFormat::parse);
        let text = |name| settings.get(name).unwrap_or_default().to_owned();
        let urls = Urls { log: text("log"), store: text("store"), bus: text("bus"), data_dir: text("data-dir").into() };
        errors.extend(polling_core::open::check(&urls).into_iter().map(ConfigError::from));
        errors.extend(not_shared(&settings, action.needs()).into_iter().map(ConfigError::from));
        let printed = settings.print();
        let warnings = settings.warnings().to_vec();
        match (admin_listen, log_format) {
            (Ok(Some(admin_listen)), Ok(Some(log_format))) if errors.is_empty() => {
                Ok((action, Self { urls, admin_listen, log_format, warnings, printed }))
            }
            (admin_listen, log_format) => {
                errors.extend(admin_listen.err().map(ConfigError::from));
                errors.extend(log_format.err().map(ConfigError::from));
                Err(errors)
            }
        }
    }
}

/// What is in the memory or on the disk of one process cannot be shared with servers and other workers.
fn not_shared(settings: &Settings, needed: &[&str]) -> Vec<SettingError> {
    [
        ("log", &["kafka:"][..], "a worker reads what servers wrote, so the log must be kafka://…"),
        ("store", &["postgres:", "postgresql:"], "servers show what workers counted, so the store must be postgres://…"),
        ("bus", &["kafka:", "postgres:", "postgresql:"], "servers must hear of it, so the bus must be kafka://… or postgres://…"),
    ]
    .into_iter()
    .filter(|(name, shared, _)| {
        let url = settings.get(name).unwrap_or_default();
        needed.contains(name) && !shared.iter().any(|scheme| url.starts_with(scheme))
    })
    .map(|(name, _, expected)| settings.bad_value(name, expected))
    .collect()
}

fn admin_address(text: &str) -> Option<Option<SocketAddr>> {
    if text == "none" { Some(None) } else { text.parse().ok().map(Some) }
}

fn resolve(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
) -> Result<(Action, Settings), Vec<ConfigError>> {
    let matches = command().try_get_matches_from(arguments).map_err(|error| vec![error.into()])?;
    let (action, matches) = match matches.subcommand() {
        Some((operator::AUDIT, audit)) => (Action::Audit(AuditOrder::of(audit).map_err(not_a_poll)?), audit.clone()),
        Some((operator::RECOUNT, recount)) => (Action::Recount(RecountOrder::of(recount).map_err(not_a_poll)?), recount.clone()),
        Some((_, health)) => (Action::CheckHealth, health.clone()),
        None => (Action::Work, matches),
    };
    let flags: BTreeMap<String, String> = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting.name.to_owned(), matches.get_one::<String>(setting.name)?.clone())))
        .collect();
    let named = flags.get("config").or_else(|| environment.get("POLLING_CONFIG"));
    let file = named.map(|path| read_file(path)).transpose().map_err(|error| vec![error])?.unwrap_or_default();
    Settings::resolve(SETTINGS, &flags, environment.clone(), &file)
        .map(|settings| (action, settings))
        .map_err(|errors| errors.into_iter().map(ConfigError::from).collect())
}

fn not_a_poll(text: String) -> Vec<ConfigError> {
    vec![ConfigError::Poll(text)]
}

fn command() -> Command {
    let flags = SETTINGS.iter().map(|setting| {
        let default = setting.default.map_or_else(String::new, |default| format!(" [default: {default}]"));
        let help = format!("{} [env: {}]{default}", setting.help, setting.variable());
        Arg::new(setting.name).long(setting.name).value_name("VALUE").help(help).global(true)
    });
    Command::new("polling-worker")
        .about("Counts votes from a shared log in a shared store, for servers that only take and show them")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(HELP)
        .args(flags)
        .subcommand(Command::new("healthcheck").about("Exit 0 when the worker with this configuration is ready, 1 when not"))
        .subcommand(operator::audit_command())
        .subcommand(operator::recount_command())
}

fn read_file(path: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let text =
        std::fs::read_to_string(PathBuf::from(path)).map_err(|cause| ConfigError::File { path: path.to_owned(), cause })?;
    let unusable = |reason: String| ConfigError::FileContent { path: path.to_owned(), reason };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| unusable(error.to_string()))?;
    table
        .into_iter()
        .map(|(key, value)| match value {
            _ if key == "config" => Err(unusable("a file cannot name another one".to_owned())),
            toml::Value::String(text) => Ok((key, text)),
            _ => Err(unusable(format!("{key} must be a text"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let arguments = ["polling-worker"].iter().chain(arguments).map(OsString::from);
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Config::read(arguments, &environment).expect_err("refused").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_a_shared_log_and_a_shared_store_it_says_what_it_needs() {
        let mistakes = mistakes(&[], &[]);
        for needed in ["the log must be kafka://…", "the store must be postgres://…", "the bus must be kafka://…"] {
            assert!(mistakes.iter().any(|mistake| mistake.contains(needed)), "{needed} in {mistakes:?}");
        }
    }

    #[test]
    fn a_flag_and_a_variable_are_named_as_they_were_given() {
        let mistakes = mistakes(&["--store", "sqlite:polling.db"], &[("POLLING_LOG_FORMAT", "xml")]);
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("--store is \"sqlite:polling.db\"")), "{mistakes:?}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("POLLING_LOG_FORMAT is \"xml\"")), "{mistakes:?}");
    }

    #[test]
    fn an_auditor_needs_a_store_and_polls_that_can_be() {
        let store = "postgres://me@db/polls";
        assert_eq!(
            mistakes(&["audit", "--poll", "first", "--store", store], &[])[0],
            "--poll is \"first\" and must be the id of a poll"
        );
        let without = |mistakes: Vec<String>, needed| mistakes.iter().any(|mistake| mistake.contains(needed));
        assert!(without(mistakes(&["audit"], &[]), "the store must be postgres://…"));
        assert!(without(mistakes(&["audit", "--from-log", "--store", store], &[]), "the log must be kafka://…"));
        assert!(without(mistakes(&["recount", "--store", store], &[]), "the bus must be kafka://…"));
        let arguments = ["polling-worker", "audit", "--json", "--store", store].map(OsString::from);
        let (action, _) = Config::read(arguments, &BTreeMap::new()).expect("sound");
        assert_eq!(action, Action::Audit(AuditOrder { polls: Vec::new(), from_log: false, without_log: false, json: true }));
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_nearest() {
        let mistakes = mistakes(&["--sotre", "x"], &[]);
        assert!(mistakes[0].contains("--store"), "{mistakes:?}");
    }
}
