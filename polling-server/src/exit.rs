//! How the process ends, for whoever started it.

use std::process::ExitCode;

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
}

/// The exit codes as the help shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    stopped when told to, with all that was accepted answered and counted
  64   the configuration is wrong; nothing was opened and no port was bound
  65   the data file or the schema is damaged or from a newer version
  69   the data folder or a port is in use, or a service cannot be reached
  70   a part of the server failed
  74   a file cannot be read or written
  130  stopped at once by a second SIGINT; 143 by a second SIGTERM";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
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
