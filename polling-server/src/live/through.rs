//! A bus that shows news here before anybody is told that it happened.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use polling_core::bus::{BusError, Notice, Update, UpdateBus};

use super::views::Views;

/// Publishes through the views of this server.
///
/// The counting loop publishes before it acknowledges. So a client that is told "counted" by this server sees its vote in the next
/// answer of this server.
pub struct ThroughViews {
    views: Arc<Views>,
    bus: Arc<dyn UpdateBus>,
}

impl ThroughViews {
    /// `bus`, with the views ahead of it.
    #[must_use]
    pub fn new(views: Arc<Views>, bus: Arc<dyn UpdateBus>) -> Self {
        Self { views, bus }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl UpdateBus for ThroughViews {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        self.views.absorb(&updates);
        self.bus.publish(updates).await
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        self.bus.subscribe().await
    }
}
