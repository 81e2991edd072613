//! Whether the clock of this server agrees with that of the store: a vote is late or not by the clock of the server that took it, and
//! a poll closes at one time for all servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use polling_core::clock::{Clock, Timestamp};
use polling_core::shutdown::Shutdown;
use polling_core::store::StoreError;
use tokio::sync::watch;

/// How often the clocks are compared. One that is kept by the network runs wrong by far less than a millisecond meanwhile.
const COMPARE_INTERVAL: Duration = Duration::from_secs(60);
/// How often a store that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// By how much the clock of this server is ahead of that of the store, in seconds.
pub const CLOCK_SKEW: &str = "polling_clock_skew_seconds";

/// Asks the store for its time; `None` when it goes by the clock of this machine.
pub type StoreTime = Arc<dyn Fn() -> BoxFuture<'static, Option<Result<Timestamp, StoreError>>> + Send + Sync>;

/// How far two clocks are apart, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Skew {
    /// By how many microseconds ours is ahead; below zero when it is behind.
    ahead_micros: i64,
    /// By how much that may be wrong: the answer took twice as long.
    doubt: Duration,
}

impl Skew {
    /// Of a clock that showed `before` when the store was asked, whose answer took `round_trip`.
    fn of(before: Timestamp, round_trip: Duration, answer: Timestamp) -> Self {
        let doubt = round_trip / 2;
        let ours = before.saturating_add(doubt);
        Self { ahead_micros: ours.as_micros() - answer.as_micros(), doubt }
    }

    /// Whether the clocks are certainly further apart than `bound`.
    fn exceeds(self, bound: Duration) -> bool {
        Duration::from_micros(self.ahead_micros.unsigned_abs()).saturating_sub(self.doubt) > bound
    }

    #[expect(clippy::cast_precision_loss, reason = "a skew needs no more precision than a float has")]
    fn seconds(self) -> f64 {
        self.ahead_micros as f64 / 1e6
    }
}

/// What is wrong with the clock, if anything is. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct ClockTrouble(watch::Sender<Option<String>>);

impl ClockTrouble {
    /// By how much the clock is wrong; `None` when it is not, or when that is not known yet.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Compares `clock` with that of the store now, and then every minute, until `shutdown` is requested. More than `bound` is trouble.
    pub async fn watch(self, clock: Arc<dyn Clock>, store_time: StoreTime, bound: Duration, shutdown: Shutdown) {
        let watching = async {
            loop {
                let (before, asked) = (clock.now(), Instant::now());
                let pause = match store_time().await {
                    // One clock cannot disagree with itself.
                    None => return shutdown.requested().await,
                    Some(Ok(answer)) => {
                        self.note(Skew::of(before, asked.elapsed(), answer), bound);
                        COMPARE_INTERVAL
                    }
                    // Whether the store is well is watched elsewhere.
                    Some(Err(_)) => RETRY_INTERVAL,
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = shutdown.requested() => {}
            () = watching => {}
        }
    }

    fn note(&self, skew: Skew, bound: Duration) {
        metrics::gauge!(CLOCK_SKEW).set(skew.seconds());
        let was_wrong = self.0.borrow().is_some();
        let trouble = skew.exceeds(bound).then(|| {
            let side = if skew.ahead_micros > 0 { "ahead of" } else { "behind" };
            format!("the clock of this server is {:.3} s {side} that of the store", skew.seconds().abs())
        });
        match &trouble {
            Some(trouble) if !was_wrong => {
                tracing::warn!(trouble, "votes are taken to be late, or in time, by a clock that is wrong");
            }
            None if was_wrong => tracing::info!("the clock of this server is right again"),
            _ => {}
        }
        self.0.send_replace(trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::MIN.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn half_of_the_round_trip_is_taken_for_the_way_to_the_store() {
        assert_eq!(Skew::of(at(10), 2 * SECOND, at(11)), Skew { ahead_micros: 0, doubt: SECOND });
        assert_eq!(Skew::of(at(10), Duration::ZERO, at(13)).ahead_micros, -3_000_000);
    }

    #[test]
    fn a_slow_answer_puts_no_clock_in_the_wrong() {
        assert!(!Skew::of(at(10), 4 * SECOND, at(10)).exceeds(SECOND), "it may have come at once, or been asked late");
        assert!(Skew::of(at(10), 4 * SECOND, at(20)).exceeds(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_is_said_until_it_is_right() {
        #[derive(Debug)]
        struct Fixed;
        impl Clock for Fixed {
            fn now(&self) -> Timestamp {
                at(100)
            }
        }
        // What the store says, in seconds, one after the other; the last for ever.
        let answers = Arc::new(std::sync::Mutex::new(vec![100, 97, 103]));
        let store_time: StoreTime = Arc::new(move || {
            let mut answers = answers.lock().expect("nobody panics");
            let answer = if answers.len() > 1 { answers.pop() } else { answers.first().copied() };
            Box::pin(async move { answer.map(|seconds| Ok(at(seconds))) })
        });
        let (trouble, shutdown) = (ClockTrouble::default(), Shutdown::new());
        let mut said = trouble.0.subscribe();
        let watching = tokio::spawn(trouble.watch(Arc::new(Fixed), store_time, SECOND, shutdown.clone()));
        let mut next = async || {
            said.changed().await.expect("it goes on");
            said.borrow_and_update().clone()
        };
        assert_eq!(next().await.as_deref(), Some("the clock of this server is 3.000 s behind that of the store"));
        assert_eq!(next().await.as_deref(), Some("the clock of this server is 3.000 s ahead of that of the store"));
        assert_eq!(next().await, None);
        shutdown.request();
        watching.await.expect("it ends");
    }
}
