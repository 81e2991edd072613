//! What every handler has at hand.

use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::UpdateBus;
use polling_core::clock::Clock;
use polling_core::schedule::SchedulerHandle;
use polling_core::secret::Secret;
use polling_core::sink::VoteSink;
use polling_core::store::{PollStore, TallyStore};

use crate::api::access::Access;
use crate::live::board::Board;
use crate::live::views::Views;

/// How long a handler waits for the log or the store, unless configured otherwise: longer than a failover usually takes, shorter
/// than the patience of a person.
pub const HANDLER_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// The parts of the system that handlers work with. One per server, shared by all of them.
pub struct Service {
    /// Where votes go.
    pub sink: Arc<dyn VoteSink>,
    /// Where polls are kept.
    pub polls: Arc<dyn PollStore>,
    /// Where votes and tallies are kept; handlers only read it.
    pub tallies: Arc<dyn TallyStore>,
    /// Where this server and the others hear that a poll was closed or archived here. Must go through the hub of this server.
    pub bus: Arc<dyn UpdateBus>,
    /// Polls as they are shown, up to date and ready to send.
    pub views: Arc<Views>,
    /// The leaderboard as it is shown.
    pub board: Arc<Board>,
    /// Makes and checks every token.
    pub secret: Secret,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told of new polls.
    pub scheduler: SchedulerHandle,
    /// Who may do what.
    pub access: Access,
    /// How long handlers wait.
    pub limits: Limits,
}

/// Bounds of what a handler spends on a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a handler waits for the log or the store before it answers that the outcome is not known. Time that the client
    /// asks to wait for an outcome comes on top.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: HANDLER_DEADLINE_DEFAULT }
    }
}
