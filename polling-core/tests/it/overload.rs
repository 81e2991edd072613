//! What the counting loop makes of a store that has too much to do.

use std::sync::Arc;

use async_trait::async_trait;
use polling_core::bus::memory::MemoryBus;
use polling_core::checkpoint::Batch;
use polling_core::conformance::fixture::{cast, poll};
use polling_core::ingest::{Ingest, Step};
use polling_core::sink::memory::memory_log;
use polling_core::sink::{SinkError, VoteSink};
use polling_core::store::{Applied, Overloaded, StoreError, TallyStore};

use crate::crashes::memory_store;
use crate::world::{Hooks, MEMORY, hooked, step};

struct Busy;

#[async_trait]
impl Hooks for Busy {
    async fn apply(&self, _inner: &Arc<dyn TallyStore>, _batch: &Batch) -> Result<Applied, StoreError> {
        Err(StoreError::Unavailable(Overloaded.into()))
    }
}

#[tokio::test]
async fn votes_that_a_busy_store_does_not_take_go_back_and_nobody_calls_it_ill() {
    let (sink, source) = memory_log(10);
    let store = hooked(&memory_store(), Arc::new(Busy));
    let mut ingest = Ingest::new(Arc::new(source), store.tallies, Arc::new(MemoryBus::new()));
    assert_eq!(step(&mut ingest, MEMORY).await, Some(Step::Assignment));
    let vote = cast(&poll(2, |_| {}), 1, 1, &[1]);
    let call = tokio::spawn(async move { sink.record(vote).await });
    tokio::task::yield_now().await;
    assert_eq!(step(&mut ingest, MEMORY).await, Some(Step::Returned));
    assert!(matches!(call.await.expect("no panic"), Err(SinkError::NotRecorded { .. })));
    assert_eq!(ingest.health().borrow().trouble, None);
}
