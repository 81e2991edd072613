//! How fast the store in memory counts, against a map that only keeps the same votes.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is measured is far below any bound"
)]

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use polling_core::checkpoint::Batch;
use polling_core::model::{PollId, Vote, VoterKey};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use support::{batches, polls, quantile, votes_of};

/// Votes of one batch.
const BATCH_VOTES: usize = 1000;
/// Over how many polls the votes are spread, in each table.
const SPREADS: [usize; 2] = [10, 1000];
/// Batches in each table.
const BATCHES: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("Medians of {BATCHES} batches of {BATCH_VOTES} votes of new voters, taking turns with the map.\n");
    println!("| polls | votes/s | p50 µs | p99 µs | map only, votes/s | store ÷ map |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for spread in SPREADS {
        runtime.block_on(measure(spread));
    }
}

async fn measure(spread: usize) {
    let polls = polls(spread);
    let store = MemoryStore::default();
    for poll in &polls {
        store.create(poll).await.expect("created");
    }
    let mut map = HashMap::new();
    let (mut applied, mut floor) = (Vec::new(), Vec::new());
    for batch in batches(&polls, BATCH_VOTES, BATCHES) {
        let started = Instant::now();
        keep(&mut map, &batch);
        floor.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        black_box(store.apply(&batch).await.expect("applied"));
        applied.push(started.elapsed().as_secs_f64());
    }
    let ratios: Vec<f64> = floor.iter().zip(&applied).map(|(floor, applied)| floor / applied).collect();
    println!(
        "| {spread} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} |",
        BATCH_VOTES as f64 / quantile(&applied, 0.5),
        quantile(&applied, 0.5) * 1e6,
        quantile(&applied, 0.99) * 1e6,
        BATCH_VOTES as f64 / quantile(&floor, 0.5),
        quantile(&ratios, 0.5),
    );
}

fn keep(map: &mut HashMap<(PollId, VoterKey), Vote>, batch: &Batch) {
    map.extend(votes_of(batch).map(|vote| ((vote.poll, vote.voter), *vote)));
}
