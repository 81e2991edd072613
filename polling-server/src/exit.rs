//! How the process ends, for whoever started it.

pub use polling_core::operate::exit::{Exit, chain};

/// The exit codes as the help shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    stopped when told to, with every vote that was accepted counted, or in the log of a
       cluster; requests that took too long to end were cut (--drain)
  64   the configuration is wrong; nothing was opened and no port was bound
  65   the data file or the schema is damaged or from a newer version
  69   the data folder or a port is in use, or a service cannot be reached
  70   a part of the server failed
  74   a file cannot be read or written
  75   stopped when told to, before the store had taken the last votes; their senders were
       told that the outcome is unknown, and nothing that was acknowledged is lost
  130  stopped at once by a second SIGINT; 143 by a second SIGTERM";
