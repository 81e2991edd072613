//! What runs beside the listeners, and how it stops.

use std::time::Duration;

use polling_core::shutdown::Shutdown;
use tokio::task::JoinSet;

/// How long the votes in the log may take to be counted: thousands of batches of a healthy store. With a store that hangs, their
/// senders were told long ago that the outcome is unknown.
const COUNTING_DRAIN: Duration = Duration::from_secs(30);

/// What runs until it is stopped or fails.
#[derive(Default)]
pub(crate) struct Tasks {
    /// The counting loop, which ends by itself when its log is closed.
    pub(crate) counting: JoinSet<()>,
    pub(crate) counting_stop: Shutdown,
    pub(crate) others: JoinSet<()>,
    pub(crate) others_stop: Shutdown,
}

impl Tasks {
    /// Waits until one of them ends, and names it.
    pub(crate) async fn first_end(&mut self) -> &'static str {
        tokio::select! {
            Some(_) = self.counting.join_next() => "the counting of votes",
            Some(_) = self.others.join_next() => "the scheduler, the hub, the watch over the store, or what goes over the update bus",
        }
    }

    /// Lets the counting finish the log, which must be closed; then stops the others. Answers whether all was counted.
    pub(crate) async fn stop(mut self) -> bool {
        let counted = async { while self.counting.join_next().await.is_some() {} };
        let all_counted = tokio::time::timeout(COUNTING_DRAIN, counted).await.is_ok();
        if !all_counted {
            self.counting_stop.request();
            self.counting.shutdown().await;
        }
        self.others_stop.request();
        while self.others.join_next().await.is_some() {}
        all_counted
    }
}
