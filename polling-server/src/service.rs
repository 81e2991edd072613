//! What every handler has at hand.

use std::sync::Arc;

use polling_core::clock::Clock;
use polling_core::schedule::SchedulerHandle;
use polling_core::secret::Secret;
use polling_core::sink::VoteSink;
use polling_core::store::{PollStore, TallyStore};

use crate::live::views::Views;

/// The parts of the system that handlers work with. One per server, shared by all of them.
pub struct Service {
    /// Where votes go.
    pub sink: Arc<dyn VoteSink>,
    /// Where polls are kept.
    pub polls: Arc<dyn PollStore>,
    /// Where votes and tallies are kept; handlers only read it.
    pub tallies: Arc<dyn TallyStore>,
    /// What is shown of polls and of the leaderboard, up to date and ready to send.
    pub views: Arc<Views>,
    /// Makes and checks every token.
    pub secret: Secret,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told of new polls.
    pub scheduler: SchedulerHandle,
}
