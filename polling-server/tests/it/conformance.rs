//! What the server puts around its backends passes the suites of their traits.

use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::UpdateBus;
use polling_core::bus::memory::MemoryBus;
use polling_core::clock::{Clock, SystemClock};
use polling_core::conformance::{StoreUnderTest, poll_store, tally_store, update_bus};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use polling_server::live::board::Board;
use polling_server::live::hub::Hub;
use polling_server::live::through::ThroughHub;
use polling_server::live::views::Views;
use polling_server::store_watch::{StoreTrouble, WatchedPolls};

fn watched() -> StoreUnderTest {
    let store = StoreUnderTest::forgetful(Arc::new(MemoryStore::default()));
    StoreUnderTest { polls: Arc::new(WatchedPolls::new(store.polls, StoreTrouble::default())), ..store }
}

#[tokio::test]
async fn a_watched_store_is_a_store() {
    poll_store(async || watched()).await;
    tally_store(async || watched()).await;
}

fn hub() -> Arc<Hub> {
    let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SystemClock));
    let views = Arc::new(Views::new(Arc::clone(&store) as Arc<dyn PollStore>, Arc::clone(&clock) as Arc<dyn Clock>));
    let board =
        Arc::new(Board::new(Arc::clone(&store) as Arc<dyn TallyStore>, Arc::clone(&views), Arc::clone(&clock) as Arc<dyn Clock>));
    Hub::new(views, board, store, clock, Duration::from_millis(50))
}

#[tokio::test]
async fn a_bus_with_the_hub_ahead_of_it_is_a_bus() {
    update_bus(async || Arc::new(ThroughHub::new(hub(), Arc::new(MemoryBus::new()))) as Arc<dyn UpdateBus>).await;
}
