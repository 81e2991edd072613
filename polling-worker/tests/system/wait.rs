//! Bounded waits on a condition.

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How long anything may take that should happen soon, on a machine with other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for a future.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.unwrap_or_else(|_| panic!("it takes too long: {what}"))
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "it takes too long: {what}");
        tokio::time::sleep(LOOK).await;
    }
}
