//! The log of the process, on standard error.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

pub use tracing_subscriber::EnvFilter as Filter;
use tracing_subscriber::filter::ParseError;

/// What is logged when nobody says: what an operator should know, and nothing about each request.
const FILTER_DEFAULT: &str = "info";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// The format with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Reads what to log, in the language of `RUST_LOG`; the usual when it is not given or empty.
///
/// # Errors
///
/// When it is not in that language.
pub fn filter(directives: Option<&str>) -> Result<Filter, ParseError> {
    Filter::try_new(directives.filter(|text| !text.is_empty()).unwrap_or(FILTER_DEFAULT))
}

/// Starts the log of the process, panics included. A second call changes nothing.
pub fn start(format: LogFormat, filter: Filter) {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { builder.json().try_init() } else { builder.with_ansi(terminal).try_init() };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A panic stands in the log like everything else, in one line.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without words");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(message, place, "a task panicked");
}
