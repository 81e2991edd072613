//! How long to wait before the next try.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause: long enough for a lock to be released, too short for a person to notice.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause: once what was missing is back, work goes on within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Growing pauses with jitter, without an end: whoever retries decides when to give up.
#[derive(Debug)]
pub struct Pauses(ExponentialBackoff);

impl Default for Pauses {
    fn default() -> Self {
        Self(builder().build())
    }
}

impl Pauses {
    /// The next pause, between 20 ms and 2 s: doubled each time up to 1 s, and at random up to twice that.
    pub fn next_pause(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST_PAUSE)
    }

    /// Begins again with a short pause, after something went well.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn builder() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).without_max_times().with_jitter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded_for_ever() {
        let mut pauses = Pauses::default();
        let made: Vec<Duration> = (0..200).map(|_| pauses.next_pause()).collect();
        assert!(made[0] <= 2 * FIRST_PAUSE);
        assert!(made.iter().all(|pause| (FIRST_PAUSE..=2 * LONGEST_PAUSE).contains(pause)));
        assert!(made[199] >= LONGEST_PAUSE);
        pauses.reset();
        assert!(pauses.next_pause() <= 2 * FIRST_PAUSE);
    }
}
