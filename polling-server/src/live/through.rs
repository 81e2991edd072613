//! A bus that shows news here before anybody is told that it happened.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use polling_core::bus::{BusError, Notice, Update, UpdateBus};

use super::hub::Hub;

/// Publishes through the hub of this server.
///
/// The counting loop publishes before it acknowledges. So a client that is told "counted" by this server sees its vote in the next
/// answer of this server.
pub struct ThroughHub {
    hub: Arc<Hub>,
    bus: Arc<dyn UpdateBus>,
}

impl ThroughHub {
    /// `bus`, with the hub ahead of it.
    #[must_use]
    pub fn new(hub: Arc<Hub>, bus: Arc<dyn UpdateBus>) -> Self {
        Self { hub, bus }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl UpdateBus for ThroughHub {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        self.hub.absorb(&updates);
        self.bus.publish(updates).await
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        self.bus.subscribe().await
    }
}
