//! Polls and leaderboard as they are shown.

use std::sync::Arc;

use bytes::Bytes;
use polling_core::bus::Update;
use polling_core::checkpoint::Checkpoint;
use polling_core::clock::{Clock, Timestamp};
use polling_core::model::PollId;
use polling_core::store::{PollSnapshot, PollStore, StoreError, TallyStore};
use tokio::sync::watch;

use crate::api::types::{LeaderboardBody, LeaderboardEntry, PollBody};

/// A body that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sendable {
    /// JSON.
    pub body: Bytes,
    /// A strong entity tag, with its quotes.
    pub etag: String,
}

/// A poll at a version.
#[derive(Debug)]
pub struct PollView {
    snapshot: PollSnapshot,
}

impl PollView {
    /// The poll and its tally.
    #[must_use]
    pub const fn snapshot(&self) -> &PollSnapshot {
        &self.snapshot
    }

    /// The body of `GET /polls/{id}` at `now`.
    #[must_use]
    pub fn sendable(&self, now: Timestamp, visible: bool) -> Sendable {
        let body = PollBody::new(&self.snapshot, now, visible);
        let version = self.snapshot.tally.version;
        let etag = format!("\"{}.{}.{}.{visible}\"", version.epoch, version.number, body.state);
        Sendable { body: serde_json::to_vec(&body).unwrap_or_default().into(), etag }
    }
}

/// Everything that is shown.
pub struct Views {
    polls: Arc<dyn PollStore>,
    tallies: Arc<dyn TallyStore>,
    clock: Arc<dyn Clock>,
    progress: watch::Sender<Checkpoint>,
}

impl Views {
    /// Views over these stores.
    #[must_use]
    pub fn new(polls: Arc<dyn PollStore>, tallies: Arc<dyn TallyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { polls, tallies, clock, progress: watch::Sender::default() }
    }

    /// The poll as it is now; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn poll(&self, poll: PollId) -> Result<Option<Arc<PollView>>, StoreError> {
        Ok(self.polls.read(poll).await?.map(|snapshot| Arc::new(PollView { snapshot })))
    }

    /// The best `limit` options, ready to be sent.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn leaderboard(&self, limit: usize) -> Result<Sendable, StoreError> {
        let mut entries = Vec::new();
        for (leader, rank) in self.tallies.leaders(limit, self.clock.now()).await?.iter().zip(1..) {
            if let Some(view) = self.poll(leader.poll).await? {
                entries.extend(LeaderboardEntry::new(rank, leader, view.snapshot()));
            }
        }
        let body = serde_json::to_vec(&LeaderboardBody { version: 1, entries }).unwrap_or_default().into();
        Ok(Sendable { body, etag: "\"1\"".to_owned() })
    }

    /// Takes in news.
    pub fn absorb(&self, _updates: &[Update]) {}

    /// How far votes have been counted, as far as this server has heard.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Checkpoint> {
        self.progress.subscribe()
    }
}
