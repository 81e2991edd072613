//! How a process ends, for whoever started it.

use std::process::ExitCode;

#[cfg(feature = "kafka")]
use crate::kafka::KafkaOpenError;
use crate::open::OpenError;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresOpenError;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::SqliteOpenError;

/// Exit codes, those of `sysexits.h`, which supervisors know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// A check that was asked for says no.
    Unhealthy = 1,
    /// The configuration is wrong: starting again does not help.
    Configuration = 64,
    /// The data is damaged, or from a newer version.
    Damaged = 65,
    /// The data folder or a port is in use, or something that is needed cannot be reached.
    Unavailable = 69,
    /// A part of the program failed.
    Internal = 70,
    /// A file cannot be read or written.
    Io = 74,
    /// It was told to stop before it had done what was asked.
    Interrupted = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl OpenError {
    /// How to end a process whose backends cannot be opened.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            error if error.is_configuration() => Exit::Configuration,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(SqliteOpenError::InUse { .. }) => Exit::Unavailable,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(SqliteOpenError::Io { .. }) => Exit::Io,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Exit::Damaged,
            // A topic that would break the promises, or that we may not look at: somebody has to decide.
            #[cfg(feature = "kafka")]
            Self::Kafka { source: KafkaOpenError::Topic(_), .. } => Exit::Configuration,
            #[cfg(feature = "postgres")]
            Self::Postgres { source, .. } => match source {
                PostgresOpenError::Refused { .. } | PostgresOpenError::LossyServer { .. } => Exit::Configuration,
                PostgresOpenError::NewerSchema { .. } | PostgresOpenError::WrongSchema { .. } => Exit::Damaged,
                _ => Exit::Unavailable,
            },
            _ => Exit::Unavailable,
        }
    }
}

/// The error and its causes, each once, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
