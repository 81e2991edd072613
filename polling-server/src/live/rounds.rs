//! Work that is done once for all who wait for it.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use polling_core::store::StoreError;

use super::reads::another;

type Round = BoxFuture<'static, Result<(), Arc<StoreError>>>;

/// Rounds of the same work, one after the other.
///
/// Whoever comes while one is under way waits for the next, with all others who came meanwhile. So nobody waits for more than two,
/// however many come, and however long the work takes.
#[derive(Default)]
pub struct Rounds {
    /// The round that has not begun.
    next: Mutex<Option<WeakShared<Round>>>,
    /// Held by the round that is under way.
    turn: tokio::sync::Mutex<()>,
}

impl Rounds {
    /// Waits for a round that begins after the call; `work` is done when there is none yet. Dropping the future ends the round when
    /// nobody else waits for it.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub async fn join<W>(self: &Arc<Self>, work: W) -> Result<(), StoreError>
    where
        W: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let round = self.next_or(work);
        round.await.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(another))
    }

    fn next_or<W>(self: &Arc<Self>, work: W) -> Shared<Round>
    where
        W: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(round) = next.as_ref().and_then(WeakShared::upgrade) {
            return round;
        }
        let rounds = Arc::clone(self);
        let round = async move {
            let _turn = rounds.turn.lock().await;
            // From here on it may have passed what somebody wants to have seen.
            rounds.next.lock().unwrap_or_else(PoisonError::into_inner).take();
            work.await.map_err(Arc::new)
        };
        let round = round.boxed().shared();
        *next = round.downgrade();
        round
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Work that says how often it was begun, and fails when it may.
    struct Slow {
        begun: AtomicU32,
        may_end: Semaphore,
    }

    impl Slow {
        fn new() -> Arc<Self> {
            Arc::new(Self { begun: AtomicU32::new(0), may_end: Semaphore::new(0) })
        }

        async fn work(self: Arc<Self>) -> Result<(), StoreError> {
            self.begun.fetch_add(1, Ordering::SeqCst);
            if let Ok(permit) = self.may_end.acquire().await {
                permit.forget();
            }
            Err(StoreError::Unavailable("no connection in time".into()))
        }

        fn begun(&self) -> u32 {
            self.begun.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_more_than_two_rounds() {
        let (rounds, slow) = (Arc::<Rounds>::default(), Slow::new());
        let crowd = |size| Box::pin(join_all((0..size).map(|_| rounds.join(Arc::clone(&slow).work())).collect::<Vec<_>>()));
        let mut first = crowd(1);
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut others = crowd(1000);
        assert!(futures_util::poll!(&mut others).is_pending());
        assert_eq!(slow.begun(), 1, "the others wait for what begins after they came");
        slow.may_end.add_permits(2);
        let errors: Vec<StoreError> = [first.await, others.await].into_iter().flatten().filter_map(Result::err).collect();
        assert_eq!((errors.len(), slow.begun()), (1001, 2));
        assert!(errors.iter().all(|error| error.is_retryable() && error.source().is_some()));
    }

    #[tokio::test]
    async fn a_round_that_its_first_caller_gives_up_goes_on_for_the_others() {
        let (rounds, slow) = (Arc::<Rounds>::default(), Slow::new());
        let mut first = Box::pin(rounds.join(Arc::clone(&slow).work()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(rounds.join(Arc::clone(&slow).work()));
        let mut third = Box::pin(rounds.join(Arc::clone(&slow).work()));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        drop((first, second));
        slow.may_end.add_permits(1);
        assert!(third.await.is_err());
        assert_eq!(slow.begun(), 2, "the round of the first was given up with it");
    }
}
