//! Every backend passes the suite of its trait, bare and behind `Arc<dyn …>`, and so do the wrappers.

use std::sync::Arc;

use polling_core::bus::UpdateBus;
use polling_core::bus::memory::MemoryBus;
use polling_core::conformance::{LogUnderTest, StoreUnderTest, poll_store, tally_store, update_bus, vote_log};
use polling_core::fault::{Faults, FaultyBus, FaultySink, FaultySource, FaultyStore};
use polling_core::sink::memory::memory_log;
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};

/// The same store behind wrappers that do nothing: forwarding must not lose anything.
pub(crate) fn wrapped(store: StoreUnderTest) -> StoreUnderTest {
    let StoreUnderTest { polls, tallies, reopen } = store;
    StoreUnderTest {
        polls: Arc::new(FaultyStore::new(polls, Faults::none())) as Arc<dyn PollStore>,
        tallies: Arc::new(FaultyStore::new(tallies, Faults::none())) as Arc<dyn TallyStore>,
        reopen,
    }
}

fn memory_store() -> StoreUnderTest {
    StoreUnderTest::forgetful(Arc::new(MemoryStore::default()))
}

fn memory(capacity: usize) -> LogUnderTest {
    let (sink, source) = memory_log(capacity);
    LogUnderTest { sink: Arc::new(sink), source: Arc::new(source), resolves_when_applied: true, capacity: Some(capacity) }
}

#[tokio::test]
async fn the_memory_store_is_a_poll_store() {
    poll_store(async || memory_store()).await;
    poll_store(async || wrapped(memory_store())).await;
}

#[tokio::test]
async fn the_memory_store_is_a_tally_store() {
    tally_store(async || memory_store()).await;
    tally_store(async || wrapped(memory_store())).await;
}

#[tokio::test]
async fn the_memory_log_is_a_vote_log() {
    vote_log(async |capacity| memory(capacity)).await;
    vote_log(async |capacity| {
        let log = memory(capacity);
        let sink = Arc::new(FaultySink::new(log.sink, Faults::none()));
        LogUnderTest { sink, source: Arc::new(FaultySource::new(log.source, Faults::none())), ..log }
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a full queue is refused at once")]
async fn a_log_that_takes_more_votes_than_it_says_fails_the_suite_and_does_not_hang_in_it() {
    vote_log(async |capacity| LogUnderTest { capacity: Some(capacity), ..memory(capacity + 1) }).await;
}

#[tokio::test]
async fn the_memory_bus_is_an_update_bus() {
    update_bus(async || Arc::new(MemoryBus::new()) as Arc<dyn UpdateBus>).await;
    update_bus(async || Arc::new(FaultyBus::new(Arc::new(MemoryBus::new()), Faults::none())) as Arc<dyn UpdateBus>).await;
}
