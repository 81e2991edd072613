//! Scheduled openings and closings: gives each its own version at its own time, so that watchers see it.
//!
//! Whether a vote is in time does not depend on this: that is decided by its acceptance time alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::bus::{Update, UpdateBus};
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::store::{PollStore, StoreError};

/// How long it sleeps at most: a poll that another server created is not heard of here until the next look.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Announces scheduled changes of state. Several may run against the same store; each change gets one new version.
pub struct Scheduler {
    store: Arc<dyn PollStore>,
    bus: Arc<dyn UpdateBus>,
    clock: Arc<dyn Clock>,
    created: Arc<Notify>,
}

/// Tells a scheduler of this process that a poll was created, so that a close within the next second is on time.
#[derive(Debug, Clone)]
pub struct SchedulerHandle(Arc<Notify>);

impl SchedulerHandle {
    /// Have it look at once.
    pub fn poll_created(&self) {
        self.0.notify_one();
    }
}

impl Scheduler {
    /// A scheduler over these; [`run`](Self::run) or [`step`](Self::step) moves it.
    #[must_use]
    pub fn new(store: Arc<dyn PollStore>, bus: Arc<dyn UpdateBus>, clock: Arc<dyn Clock>) -> Self {
        Self { store, bus, clock, created: Arc::default() }
    }

    /// A handle for whoever creates polls.
    #[must_use]
    pub fn handle(&self) -> SchedulerHandle {
        SchedulerHandle(Arc::clone(&self.created))
    }

    /// Announces whatever is due until `shutdown` is requested.
    ///
    /// # Cancellation
    ///
    /// Dropping the future may leave a change with its new version and unannounced; servers find it when they read the poll again.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "scheduled changes were not announced");
                    LOOK_INTERVAL
                }
            };
            tokio::select! {
                () = shutdown.requested() => return,
                () = self.created.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Announces what is due now; answers how long to wait for the next.
    ///
    /// # Errors
    ///
    /// Those of the store; the next step announces what this one did not.
    pub async fn step(&self) -> Result<Duration, StoreError> {
        let transitions = self.store.transition(self.clock.now()).await?;
        let updates: Vec<Update> = transitions.changed.into_iter().map(Update::Changed).collect();
        if let Err(error) = self.bus.publish(updates).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "scheduled changes were not published");
        }
        let wait = transitions.next.map(|next| next.saturating_since(self.clock.now()));
        Ok(wait.map_or(LOOK_INTERVAL, |wait| wait.min(LOOK_INTERVAL)))
    }
}
