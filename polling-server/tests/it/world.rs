//! Servers in this process over one store, without their listeners.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::Update;
use polling_core::clock::{ManualClock, Timestamp};
use polling_core::conformance::fixture::{NOW, batch};
use polling_core::fault::{Faults, FaultyStore};
use polling_core::model::{Poll, Vote};
use polling_core::shutdown::Shutdown;
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use polling_server::live::board::Board;
use polling_server::live::frame::PollNews;
use polling_server::live::hub::{Hub, Watched};
use polling_server::live::views::Views;
use serde_json::Value;

use crate::store::WatchedStore;

/// Between two frames of a topic.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// What a server shows.
pub(crate) struct Server {
    pub(crate) views: Arc<Views>,
    pub(crate) board: Arc<Board>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Server {
    /// A server whose clock says `now`.
    pub(crate) fn new(polls: Arc<dyn PollStore>, tallies: Arc<dyn TallyStore>, now: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        let views = Arc::new(Views::new(polls, clock.clone()));
        let board = Arc::new(Board::new(Arc::clone(&tallies), Arc::clone(&views), clock.clone()));
        let hub = Hub::new(Arc::clone(&views), Arc::clone(&board), tallies, clock.clone(), INTERVAL);
        tokio::spawn(Arc::clone(&hub).run(Shutdown::new()));
        Self { views, board, hub, clock }
    }

    pub(crate) async fn watch(&self, poll: &Poll) -> Watched {
        self.hub.watch_poll(poll.id).await.expect("read").expect("the poll exists")
    }
}

/// A store, and a server over it.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    /// The same, as the server sees it.
    pub(crate) watched: Arc<WatchedStore>,
    server: Server,
    offset: u64,
}

impl Deref for World {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl World {
    pub(crate) async fn new(polls: &[&Poll]) -> Self {
        Self::with_faults(polls, Faults::none()).await
    }

    /// Polls are read through a store with these faults.
    pub(crate) async fn with_faults(polls: &[&Poll], faults: Faults) -> Self {
        let store = Arc::new(MemoryStore::default());
        for poll in polls {
            store.create(poll).await.expect("created");
        }
        let watched = WatchedStore::over(Arc::clone(&store));
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&watched) as Arc<dyn PollStore>, faults));
        let server = Server::new(faulty, Arc::clone(&watched) as Arc<dyn TallyStore>, NOW);
        Self { store, watched, server, offset: 0 }
    }

    /// Another server over the same store, whose clock says `now`.
    pub(crate) fn another_server(&self, now: Timestamp) -> Server {
        Server::new(Arc::clone(&self.store) as Arc<dyn PollStore>, Arc::clone(&self.store) as Arc<dyn TallyStore>, now)
    }

    /// Applies votes without a word to anybody; answers what should have been published.
    pub(crate) async fn apply_silently(&mut self, votes: &[Vote]) -> Vec<Update> {
        let batch = batch(self.offset, votes);
        self.offset += votes.len() as u64;
        let applied = self.store.apply(&batch).await.expect("applied");
        applied.tallies.into_iter().map(Update::Tally).collect()
    }

    pub(crate) async fn apply(&mut self, votes: &[Vote]) {
        let updates = self.apply_silently(votes).await;
        self.hub.absorb(&updates);
    }
}

pub(crate) fn frame(text: &str) -> Value {
    serde_json::from_str(text).expect("a frame is JSON")
}

/// The next frame of a poll; null when the poll is gone.
pub(crate) async fn next(watched: &mut Watched) -> Value {
    watched.news.changed().await.expect("the topic lives");
    match &*watched.news.borrow_and_update() {
        PollNews::Frame(news) => frame(&news.with_results.text),
        PollNews::Gone => Value::Null,
    }
}
