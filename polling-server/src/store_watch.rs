//! Whether the store is well, learned from what it did not do, and asked from time to time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polling_core::checkpoint::Batch;
use polling_core::clock::Timestamp;
use polling_core::model::{Poll, PollId};
use polling_core::shutdown::Shutdown;
use polling_core::store::{CreationOrder, PollFilter, PollSnapshot, PollStore, StoreError, TallyStore, Transitions};
use tokio::sync::watch;

use crate::exit::chain;

/// How long to wait before a store in trouble is asked whether it can commit again: as long as the counting loop does.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How often a store of which nothing bad is known is asked, so that one that nobody needs just now is missed, too.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What keeps the store from doing its work, if anything does. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct StoreTrouble(watch::Sender<Option<String>>);

impl StoreTrouble {
    /// The trouble; `None` when the last that was heard of the store is good.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// A store that is in trouble.
    #[cfg(test)]
    pub(crate) fn of(trouble: &str) -> Self {
        Self(watch::Sender::new(Some(trouble.to_owned())))
    }

    fn note(&self, error: &StoreError) {
        // A store with too much to do is well, and one damaged row keeps nobody from the others.
        if error.is_overload() || !error.is_retryable() {
            return;
        }
        let trouble = chain(error);
        self.0.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(&trouble);
            if is_news {
                tracing::error!(trouble, "the store is in trouble");
                *known = Some(trouble);
            }
            is_news
        });
    }

    /// Looks at the store from time to time and, while there is trouble, asks it every second whether it can commit again. Until
    /// `shutdown` is requested.
    pub async fn watch(self, store: Arc<dyn TallyStore>, shutdown: Shutdown) {
        let mut troubles = self.0.subscribe();
        let watching = async {
            loop {
                if tokio::time::timeout(LOOK_INTERVAL, troubles.wait_for(Option::is_some)).await.is_err() {
                    if let Err(error) = store.checkpoint().await {
                        self.note(&error);
                    }
                    continue;
                }
                tokio::time::sleep(PROBE_INTERVAL).await;
                match store.apply(&Batch::default()).await {
                    Ok(_) => {
                        tracing::info!("the store is well again");
                        self.0.send_replace(None);
                    }
                    Err(error) => self.note(&error),
                }
            }
        };
        tokio::select! {
            () = shutdown.requested() => {}
            () = watching => {}
        }
    }
}

/// A store of polls whose failures are noted.
pub struct WatchedPolls {
    inner: Arc<dyn PollStore>,
    trouble: StoreTrouble,
}

impl WatchedPolls {
    /// `inner`, with `trouble` told what it does not do.
    #[must_use]
    pub fn new(inner: Arc<dyn PollStore>, trouble: StoreTrouble) -> Self {
        Self { inner, trouble }
    }

    fn noted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        answer.inspect_err(|error| self.trouble.note(error))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PollStore for WatchedPolls {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        self.noted(self.inner.create(poll).await)
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        self.noted(self.inner.read(poll).await)
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        self.noted(self.inner.list(filter, order, after, limit, now).await)
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        self.noted(self.inner.rank(filter, limit, now).await)
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        self.noted(self.inner.close(poll, at).await)
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        self.noted(self.inner.archive(poll).await)
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        self.noted(self.inner.transition(now).await)
    }
}

#[cfg(test)]
mod tests {
    use polling_core::store::Overloaded;

    use super::*;

    #[test]
    fn trouble_is_what_keeps_the_store_from_committing() {
        let trouble = StoreTrouble::default();
        trouble.note(&StoreError::Unavailable(Overloaded.into()));
        trouble.note(&StoreError::Damaged("a row".to_owned()));
        assert_eq!(trouble.current(), None);
        trouble.note(&StoreError::Unavailable("disk full".into()));
        assert_eq!(trouble.current().as_deref(), Some("the store is unavailable: disk full"));
    }
}
