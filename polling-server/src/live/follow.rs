//! News from other processes.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::retry::Pauses;
use polling_core::shutdown::Shutdown;

/// Gives all news of the bus to `absorb` until `shutdown` is requested. `lost` is called whenever some may have been missed: when
/// the bus says so, and at every subscription. Before the first, too, somebody may have read what has changed since.
pub async fn follow(bus: Arc<dyn UpdateBus>, absorb: impl Fn(&[Update]), lost: impl Fn(), shutdown: Shutdown) {
    let following = async {
        let mut pauses = Pauses::default();
        loop {
            match bus.subscribe().await {
                Ok(notices) => {
                    lost();
                    pauses.reset();
                    pass_on(notices, &absorb, &lost).await;
                    tracing::warn!("the update bus has gone away");
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the update bus cannot be followed");
                }
            }
            tokio::time::sleep(pauses.next_pause()).await;
        }
    };
    tokio::select! {
        () = shutdown.requested() => {}
        () = following => {}
    }
}

async fn pass_on(mut notices: BoxStream<'static, Notice>, absorb: &impl Fn(&[Update]), lost: &impl Fn()) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Updates(updates) => absorb(&updates),
            Notice::Lagged => {
                metrics::counter!("polling_news_lost_total").increment(1);
                lost();
            }
        }
    }
}
