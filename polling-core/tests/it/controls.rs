//! Negative controls: with one rule taken away, the tests of `crashes` must fail. A test that cannot fail proves nothing.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use polling_core::checkpoint::{Batch, Entry, PartitionBatch};
use polling_core::fault::FaultRates;
use polling_core::model::{Choices, Outcome, PollId, Tally};
use polling_core::store::{Applied, StoreError, TallyStore};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::crashes::{Event, block_on, events, memory_store, run_on_a_kept_log, run_on_a_memory_log};
use crate::world::{Hooks, MEMORY};

/// Schedules that a control is tried on; one that fails is enough, and the first few do.
const SCHEDULES: usize = 100;
const RATES: FaultRates = FaultRates { before: 10, after: 15, hesitate: 40 };

/// Whether the test fails on at least one of the schedules, which are the same in every run.
fn goes_red<F: Future<Output = ()>>(test: impl Fn(Vec<Event>, u64) -> F) -> bool {
    let generator = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), generator);
    (0..SCHEDULES as u64).any(|seed| {
        let events = events().new_tree(&mut runner).expect("a schedule").current();
        let mut red = false;
        block_on(async {
            red = AssertUnwindSafe(test(events, seed)).catch_unwind().await.is_err();
        });
        red
    })
}

/// Takes every batch for the one that is due, as a store without the comparison of checkpoints would.
struct Unfenced;

#[async_trait]
impl Hooks for Unfenced {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        let checkpoint = inner.checkpoint().await?;
        let parts = batch.parts().iter().map(|part| PartitionBatch { first: checkpoint.next(part.partition), ..part.clone() });
        inner.apply(&Batch::new(parts.collect()).expect("distinct as before")).await
    }
}

#[test]
fn without_the_comparison_of_checkpoints_the_test_goes_red() {
    assert!(goes_red(|events, seed| run_on_a_kept_log(memory_store(), MEMORY, events, RATES, seed, Arc::new(Unfenced))));
}

/// Adds to the tallies whatever the batch names, and not what was really inserted.
#[derive(Default)]
struct TallyFromTheBatch(Mutex<BTreeMap<PollId, Vec<u64>>>);

#[async_trait]
impl Hooks for TallyFromTheBatch {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        let applied = inner.apply(batch).await?;
        let mut counted = self.0.lock().expect("no panic inside");
        for (_, entry) in batch.positioned() {
            if let Entry::Vote(vote) = entry {
                let votes = counted.entry(vote.poll).or_insert_with(|| vec![0; 100]);
                vote.kind.choices().into_iter().flat_map(Choices::iter).for_each(|option| votes[option.index()] += 1);
            }
        }
        Ok(applied)
    }

    async fn tallies(&self, inner: &Arc<dyn TallyStore>, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        let mut tallies = inner.tallies(polls).await?;
        let counted = self.0.lock().expect("no panic inside");
        for tally in &mut tallies {
            if let Some(votes) = counted.get(&tally.poll) {
                let options = tally.totals.votes.len();
                tally.totals.votes = votes[..options].to_vec();
            }
        }
        Ok(tallies)
    }
}

#[test]
fn with_tallies_from_the_batch_the_test_goes_red() {
    assert!(goes_red(|events, seed| {
        run_on_a_kept_log(memory_store(), MEMORY, events, RATES, seed, Arc::new(TallyFromTheBatch::default()))
    }));
}

/// Says that a batch is applied, and applies it when the next one comes.
#[derive(Default)]
struct AcknowledgesFirst(Mutex<Option<Batch>>);

#[async_trait]
impl Hooks for AcknowledgesFirst {
    async fn apply(&self, inner: &Arc<dyn TallyStore>, batch: &Batch) -> Result<Applied, StoreError> {
        let held = self.0.lock().expect("no panic inside").replace(batch.clone());
        if let Some(held) = held {
            inner.apply(&held).await?;
        }
        Ok(Applied { outcomes: vec![Outcome::Counted; batch.len()], ..Applied::default() })
    }
}

#[test]
fn with_the_acknowledgement_before_the_commit_the_test_goes_red() {
    assert!(goes_red(|events, seed| {
        run_on_a_memory_log(memory_store(), MEMORY, events, RATES, seed, || Arc::new(AcknowledgesFirst::default()))
    }));
}

/// The same harness without sabotage stays green on the same schedules, so what goes red above is the sabotage.
#[test]
fn without_sabotage_the_same_schedules_stay_green() {
    assert!(!goes_red(|events, seed| {
        run_on_a_kept_log(memory_store(), MEMORY, events, RATES, seed, Arc::new(crate::world::Honest))
    }));
    assert!(!goes_red(|events, seed| {
        run_on_a_memory_log(memory_store(), MEMORY, events, RATES, seed, || Arc::new(crate::world::Honest))
    }));
}
