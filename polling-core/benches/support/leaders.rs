//! How long a store takes to find the options that the leaderboard is filled with, among those of very many polls.

use std::time::Instant;

use polling_core::clock::Timestamp;
use polling_core::leaderboard::BOARD_OPTIONS_MAX;
use polling_core::store::TallyStore;

use super::{OPTIONS, quantile};

/// Open polls in the store, all of them voted in.
pub(crate) const POLLS: usize = 250_000;
/// Scans of which the median is told.
const SCANS: usize = 9;

/// Scans a store that holds these polls, with votes as `title` says, and prints what it took.
pub(crate) async fn measure(title: &str, store: &impl TallyStore) {
    let now = Timestamp::from_micros(1_800_000_000_000_000).expect("in range");
    let mut times = Vec::with_capacity(SCANS);
    for _ in 0..SCANS {
        let started = Instant::now();
        let leaders = store.leaders(BOARD_OPTIONS_MAX, now).await.expect("read");
        times.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(leaders.len(), BOARD_OPTIONS_MAX, "there are more");
    }
    println!(
        "\nThe {BOARD_OPTIONS_MAX} best of {} options of {POLLS} open polls, {title}: {:.0} ms, of {SCANS} scans {:.0} to {:.0}.",
        POLLS * OPTIONS,
        quantile(&times, 0.5),
        quantile(&times, 0.0),
        quantile(&times, 1.0),
    );
}
