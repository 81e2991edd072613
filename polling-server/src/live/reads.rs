//! Reads of polls from the store: one for all who want the same poll at the same time.
//!
//! When the server of a crowd starts again, all of it comes back at once and asks for one poll that nobody has at hand yet.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use polling_core::model::PollId;
use polling_core::store::{PollSnapshot, StoreError};

use crate::telemetry::POLL_READS;

/// A read of a poll.
pub type Read = BoxFuture<'static, Result<Option<Arc<PollSnapshot>>, Arc<StoreError>>>;

/// What there is for whoever asks.
#[derive(Debug)]
pub enum Joined<T> {
    /// A read, which says the same to all who wait for it.
    Reading(Shared<Read>),
    /// What is known already.
    Known(T),
}

/// The reads that are under way.
#[derive(Default)]
pub struct Reads {
    /// With how much had been told of the poll when they began. Those that have ended are let go before the map would grow.
    under_way: Mutex<HashMap<PollId, (u64, WeakShared<Read>)>>,
}

impl Reads {
    /// What the store says of the poll, by a read that is under way or else by `read`. `news` counts what was told of the poll before
    /// the call: a read that began before some of it may answer what was true then, and does not do. `known` is asked before a read is
    /// begun: whoever came with those who were just answered need not ask again. For that, hold what is answered until what it says is
    /// known. A read ends when nobody waits for it any more.
    pub fn join<T, R>(&self, poll: PollId, news: u64, known: impl FnOnce() -> Option<T>, read: R) -> Joined<T>
    where
        R: Future<Output = Result<Option<PollSnapshot>, StoreError>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, reading)) = under_way.get(&poll)
            && *known >= news
            && let Some(reading) = reading.upgrade()
        {
            return Joined::Reading(reading);
        }
        if let Some(known) = known() {
            return Joined::Known(known);
        }
        metrics::counter!(POLL_READS).increment(1);
        let reading = read.map(|read| read.map(|poll| poll.map(Arc::new)).map_err(Arc::new)).boxed().shared();
        if under_way.len() == under_way.capacity() {
            under_way.retain(|_, (_, reading)| reading.upgrade().is_some());
        }
        if let Some(held) = reading.downgrade() {
            under_way.insert(poll, (news, held));
        }
        Joined::Reading(reading)
    }
}

/// The same decision for each of those who waited.
pub(super) fn another(error: Arc<StoreError>) -> StoreError {
    match &*error {
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        StoreError::Unknown(_) => StoreError::Unknown(Box::new(Cause(error))),
        _ => StoreError::Unavailable(Box::new(Cause(error))),
    }
}

/// The cause of an error that several got, without the error's own text.
#[derive(Debug)]
struct Cause(Arc<StoreError>);

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => write!(formatter, "{cause}"),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source().and_then(Error::source)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    /// A store that says how often it was asked, and answers when it may.
    struct Slow {
        asked: AtomicU32,
        may_answer: Semaphore,
    }

    impl Slow {
        fn new() -> Arc<Self> {
            Arc::new(Self { asked: AtomicU32::new(0), may_answer: Semaphore::new(0) })
        }

        async fn read(self: Arc<Self>) -> Result<Option<PollSnapshot>, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _answers = self.may_answer.acquire().await;
            Err(StoreError::Unavailable("the disk is full".into()))
        }
    }

    /// Waits for what the store says; nothing is known before.
    async fn join(
        reads: &Reads,
        store: &Arc<Slow>,
        poll: PollId,
        news: u64,
    ) -> Result<Option<Arc<PollSnapshot>>, Arc<StoreError>> {
        match reads.join(poll, news, || None::<()>, Arc::clone(store).read()) {
            Joined::Reading(reading) => reading.await,
            Joined::Known(()) => unreachable!("nothing is known"),
        }
    }

    fn poll() -> PollId {
        PollId::from_uuid(Uuid::now_v7()).expect("version 7")
    }

    #[tokio::test]
    async fn those_who_come_together_are_answered_by_one_read() {
        let (reads, store, poll) = (Reads::default(), Slow::new(), poll());
        let mut crowd = std::pin::pin!(join_all((0..1000).map(|_| join(&reads, &store, poll, 0))));
        assert!(futures_util::poll!(&mut crowd).is_pending());
        store.may_answer.add_permits(1);
        let answers = crowd.await;
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        for answer in answers {
            let error = another(answer.expect_err("it failed"));
            assert!(error.is_retryable());
            assert_eq!(error.source().expect("a cause").to_string(), "the disk is full");
        }
        let _asked_again = join(&reads, &store, poll, 0).await;
        assert_eq!(store.asked.load(Ordering::SeqCst), 2, "what was read before is no answer now");
    }

    #[tokio::test]
    async fn whoever_comes_when_all_were_answered_takes_what_is_known_then() {
        let (reads, store, poll) = (Reads::default(), Slow::new(), poll());
        store.may_answer.add_permits(1);
        let join = |known: Option<&'static str>| reads.join(poll, 0, || known, Arc::clone(&store).read());
        let Joined::Reading(reading) = join(None) else { panic!("nothing is known") };
        let _answer = reading.clone().await;
        let late = join(Some("known"));
        assert!(matches!(late, Joined::Reading(_)), "as long as the first has not made it known, its read answers");
        drop((reading, late));
        assert!(matches!(join(Some("known")), Joined::Known("known")));
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn whoever_was_told_more_is_not_answered_by_a_read_from_before() {
        let (reads, store, poll) = (Reads::default(), Slow::new(), poll());
        let mut crowd = std::pin::pin!(join_all([0, 1, 0].map(|news| join(&reads, &store, poll, news))));
        assert!(futures_util::poll!(&mut crowd).is_pending());
        assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_read_that_its_first_caller_gives_up_goes_on_for_the_others_and_leaves_nothing() {
        let (reads, store) = (Reads::default(), Slow::new());
        for _ in 0..10_000 {
            let poll = poll();
            let mut first = Box::pin(join(&reads, &store, poll, 0));
            assert!(futures_util::poll!(&mut first).is_pending());
            let mut second = Box::pin(join(&reads, &store, poll, 0));
            assert!(futures_util::poll!(&mut second).is_pending());
            drop(first);
            assert!(futures_util::poll!(&mut second).is_pending());
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 10_000);
        assert!(reads.under_way.lock().expect("nobody panicked").len() < 100);
    }
}
