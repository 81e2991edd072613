//! An update bus within one process.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{BusError, Notice, Update, UpdateBus};

/// Publications that a slow subscriber may be behind before it loses some: some seconds of batches.
const PUBLICATIONS_KEPT: usize = 1024;

/// Carries updates to every subscriber in the process. Cloning gives another handle to the same bus.
#[derive(Debug, Clone)]
pub struct MemoryBus {
    sender: broadcast::Sender<Arc<[Update]>>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(PUBLICATIONS_KEPT) }
    }
}

#[async_trait]
impl UpdateBus for MemoryBus {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        if !updates.is_empty() {
            // The only error is that nobody listens, and that is nobody's loss.
            let _nobody_listens = self.sender.send(updates.into());
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        let receiver = self.sender.subscribe();
        let notices = stream::unfold(receiver, |mut receiver| async {
            let notice = match receiver.recv().await {
                Ok(updates) => Notice::Updates(updates),
                Err(RecvError::Lagged(_)) => Notice::Lagged,
                Err(RecvError::Closed) => return None,
            };
            Some((notice, receiver))
        });
        Ok(notices.boxed())
    }
}
