//! What an operator asks beside the counting: whether everything that is kept is right, and that it be made so.

mod audit;
mod recount;
mod table;

use clap::{Arg, ArgAction, ArgMatches, Command};
use polling_core::model::PollId;
use polling_core::open::OpenError;
use polling_core::operate::exit::Exit;
use polling_core::source::SourceError;
use polling_core::store::StoreError;
use thiserror::Error;

pub(crate) use audit::audit;
pub(crate) use recount::recount;

/// The name of the command that audits.
pub(crate) const AUDIT: &str = "audit";
/// The name of the command that recounts.
pub(crate) const RECOUNT: &str = "recount";

const AUDIT_HELP: &str = "\
Adds up the vote rows of every poll, and holds the totals against them; holds the outcomes beside each checkpoint against the records
that were read; and counts the log once more, apart from the database, up to the checkpoint. It writes nothing and locks nothing, and
votes may come in meanwhile.

By itself it reads the log only when the log still has every record. With --from-log it reads what is there, and says what that leaves open.

Examples:
  polling-worker audit --config /etc/polling.toml
  polling-worker audit --poll 01937b3c-5c00-7000-8000-00000000002a --without-log
  polling-worker audit --from-log --json | jq .differences

Exit codes:
  0    everything that was looked at is right
  1    something is not, or a poll that was asked for does not exist
  64   the configuration is wrong, or a service refuses it
  65   the tables are damaged, or of another version
  69   the store, or with --from-log the log, cannot be reached
  75   a signal came before the end";

const RECOUNT_HELP: &str = "\
Makes the totals of polls what their vote rows add up to. Votes may come in and workers may count meanwhile: a poll is locked for as long
as a batch of votes locks it. Its version grows, and servers are told, so that everybody who watches sees it.

Without --yes it only says what it would change.

Examples:
  polling-worker recount --config /etc/polling.toml
  polling-worker recount --poll 01937b3c-5c00-7000-8000-00000000002a --yes

Exit codes:
  0    the totals are right, or have become so
  1    something is not right, or a poll that was asked for does not exist
  64, 65, 69, 75   as of audit";

/// What to audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOrder {
    /// The polls; none: all.
    pub polls: Vec<PollId>,
    /// The log must be read, as far as it has its records.
    pub from_log: bool,
    /// The log must not be read.
    pub without_log: bool,
    /// Print JSON.
    pub json: bool,
}

impl AuditOrder {
    /// From the command line; `Err` has what does not name a poll.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Self, String> {
        let flag = |name| matches.get_flag(name);
        Ok(Self { polls: polls(matches)?, from_log: flag("from-log"), without_log: flag("without-log"), json: flag("json") })
    }
}

/// What to recount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecountOrder {
    /// The polls; none: all.
    pub polls: Vec<PollId>,
    /// Change what is wrong.
    pub yes: bool,
}

impl RecountOrder {
    /// From the command line; `Err` has what does not name a poll.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Self, String> {
        Ok(Self { polls: polls(matches)?, yes: matches.get_flag("yes") })
    }
}

fn polls(matches: &ArgMatches) -> Result<Vec<PollId>, String> {
    let named = matches.get_many::<String>("poll").into_iter().flatten();
    let mut polls = named.map(|text| PollId::parse(text).ok_or_else(|| text.clone())).collect::<Result<Vec<_>, _>>()?;
    polls.sort_unstable();
    polls.dedup();
    Ok(polls)
}

fn poll_flag() -> Arg {
    Arg::new("poll").long("poll").value_name("ID").action(ArgAction::Append).help("Only this poll; may be given several times")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The command that audits.
pub(crate) fn audit_command() -> Command {
    Command::new(AUDIT)
        .about("Find out, beside servers and workers that run, whether all totals and counts are right")
        .after_help(AUDIT_HELP)
        .arg(poll_flag())
        .arg(flag("from-log", "Read the log, too, as far as it still has its records"))
        .arg(flag("without-log", "Do not read the log, even when it still has all of its records").conflicts_with("from-log"))
        .arg(flag("json", "Print JSON"))
}

/// The command that recounts.
pub(crate) fn recount_command() -> Command {
    Command::new(RECOUNT)
        .about("Make totals what the vote rows add up to, while servers and workers run")
        .after_help(RECOUNT_HELP)
        .arg(poll_flag())
        .arg(flag("yes", "Change what is wrong, instead of only saying it"))
}

/// Why it was not done.
#[derive(Debug, Error)]
enum OperatorError {
    /// A backend cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] SourceError),
    /// What was found cannot be printed.
    #[error("failed to print")]
    Print(#[from] std::io::Error),
}

impl OperatorError {
    fn exit(&self) -> Exit {
        match self {
            Self::Open(error) => error.exit(),
            Self::Store(StoreError::Damaged(_)) => Exit::Damaged,
            Self::Store(_) | Self::Log(_) => Exit::Unavailable,
            Self::Print(_) => Exit::Io,
        }
    }
}
