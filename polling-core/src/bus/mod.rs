//! News of changes, from those who count to those who show: the trait of the update bus.

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "postgres")]
mod postgres_payload;
#[cfg(feature = "kafka")]
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use thiserror::Error;
use uuid::Uuid;

use crate::checkpoint::{Offset, Partition};
use crate::model::{PollId, Tally};

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The poll has these totals at this version. Absolute: an older one that comes later is of no use.
    Tally(Tally),
    /// Something about this poll changed that a tally does not say: read it again.
    Changed(PollId),
    /// Everything before this offset has been applied.
    Progress {
        /// The partition.
        partition: Partition,
        /// The offset of the next record to apply.
        next: Offset,
    },
    /// So many watch these polls at a server. It may overtake other news, or be overtaken by it.
    Audience(Audience),
}

/// How many watch some polls at one server: what a server says of itself every few seconds. Nothing is kept of it, and nothing depends
/// on it but numbers that are said to be approximate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Names the server, from its start to its end.
    pub server: Uuid,
    /// For how long this is to be believed, in whole milliseconds, unless the server says something else before.
    pub valid_for: Duration,
    /// How many watch each of these polls; of others it says nothing. At most [`AUDIENCE_POLLS_MAX`] reach the others in one piece.
    pub watchers: Vec<(PollId, u32)>,
}

/// Polls in one piece of news about audiences, at most: as many as fit into one notification of PostgreSQL.
pub const AUDIENCE_POLLS_MAX: usize = 128;

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// News, in the order of its publication.
    Updates(Arc<[Update]>),
    /// News was lost: read again from the store whatever you show.
    Lagged,
}

/// Why news could not be published. Nothing needs to be done about it: subscribers find out from the store.
#[derive(Debug, Error)]
#[error("failed to publish updates")]
pub struct BusError(#[source] pub crate::store::Source);

/// Carries news of changes to every subscriber.
///
/// # Delivery
///
/// At most once. Every subscriber sees every update or a [`Notice::Lagged`] in its place; the bus is a hint, and the store is the truth.
///
/// # Ordering
///
/// A subscriber sees the updates of one publisher in the order of publication. Of several publishers, the versions tell which is newer.
///
/// # Idempotence
///
/// Updates are absolute; one that comes twice says nothing new.
///
/// # Errors
///
/// After [`BusError`] from `publish`, updates may have reached some subscribers, all or none; those that missed them need not be told
/// [`Notice::Lagged`], because they read again from the store at their own pace. After one from `subscribe` there is no subscription.
///
/// # Cancellation
///
/// A dropped `publish` may or may not have reached the subscribers. A dropped stream unsubscribes.
///
/// # Wrappers
///
/// `Arc<T>` and `Box<T>` are used through the trait object. A wrapper forwards every method; there are no defaults.
#[async_trait]
pub trait UpdateBus: Send + Sync {
    /// Sends updates to every subscriber. Never waits for a slow one.
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError>;

    /// Everything published from now on. The stream ends when the bus is gone or was changed: subscribe again, as after a loss.
    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError>;
}
