//! Partitions that are ours and are not read yet: each is started by itself, and again until it is, while the others are read.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::checkpoint::{Checkpoint, Partition};
use crate::retry::Pauses;
use crate::source::{SourceError, VoteSource};
use crate::store::{StoreError, TallyStore};

/// Attempts that are under way at the same time: more than a loop has partitions, usually, and a bound where it has hundreds.
const STARTS_AT_ONCE: usize = 32;

/// Why a partition was not started. It is tried again after a pause.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The store does not say where to begin.
    Store(Arc<StoreError>),
    /// The log cannot be looked at.
    Log(SourceError),
}

/// Where to begin, read once for all partitions whose attempts begin together.
type Beginning = Shared<BoxFuture<'static, Result<Arc<Checkpoint>, Arc<StoreError>>>>;

/// A partition that is not read yet.
struct Unstarted {
    /// Where to begin, until it has been tried: later it may not be true any more.
    beginning: Option<Arc<Checkpoint>>,
    /// The attempt that is under way.
    attempt: Option<BoxFuture<'static, Result<(), StartError>>>,
    /// When the next one begins.
    due: Instant,
    pauses: Pauses,
}

impl Unstarted {
    fn new(beginning: Option<Arc<Checkpoint>>) -> Self {
        Self { beginning, attempt: None, due: Instant::now(), pauses: Pauses::default() }
    }
}

/// The partitions that are not read yet, and the attempts to start them.
///
/// Invariant: a partition that is given away takes its attempt with it, so no start comes after that of a later assignment.
pub(crate) struct Starts {
    source: Arc<dyn VoteSource>,
    store: Arc<dyn TallyStore>,
    unstarted: BTreeMap<Partition, Unstarted>,
}

impl Starts {
    pub(crate) const fn new(source: Arc<dyn VoteSource>, store: Arc<dyn TallyStore>) -> Self {
        Self { source, store, unstarted: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unstarted.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.unstarted.len()
    }

    /// Has partitions started that were assigned. One that waits for that already keeps its attempt and its pause: a log may assign it
    /// again and again until it is started.
    pub(crate) fn add(&mut self, partitions: impl IntoIterator<Item = Partition>) {
        for partition in partitions {
            self.unstarted.entry(partition).or_insert_with(|| Unstarted::new(None));
        }
    }

    /// Has partitions started from `beginning`, whatever was under way.
    pub(crate) fn start_anew(&mut self, partitions: impl IntoIterator<Item = Partition>, beginning: Checkpoint) {
        let beginning = Arc::new(beginning);
        for partition in partitions {
            self.unstarted.insert(partition, Unstarted::new(Some(Arc::clone(&beginning))));
        }
    }

    /// Gives partitions up that are somebody else's.
    pub(crate) fn remove(&mut self, partitions: &[Partition]) {
        self.unstarted.retain(|unstarted, _| !partitions.contains(unstarted));
    }

    /// Ends every pause.
    pub(crate) fn hurry(&mut self) {
        self.unstarted.values_mut().for_each(|unstarted| unstarted.due = Instant::now());
    }

    /// Waits until an attempt ends; for ever when there is nothing to start. Dropping the future interrupts no attempt: they go on with
    /// the next call.
    pub(crate) async fn next(&mut self) -> (Partition, Result<(), StartError>) {
        loop {
            self.begin_due();
            let is_full = self.under_way() >= STARTS_AT_ONCE;
            let resting = self.unstarted.values().filter(|unstarted| unstarted.attempt.is_none());
            let due = resting.map(|unstarted| unstarted.due).min().filter(|_| !is_full);
            tokio::select! {
                biased;
                ended = poll_fn(|context| self.poll_attempts(context)) => return ended,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn under_way(&self) -> usize {
        self.unstarted.values().filter(|unstarted| unstarted.attempt.is_some()).count()
    }

    /// Begins the attempts that are due, in the order in which they are: where there are more than begin at once, those that hang must not
    /// keep the others from it for ever.
    fn begin_due(&mut self) {
        let room = STARTS_AT_ONCE.saturating_sub(self.under_way());
        let (source, store, now) = (&self.source, &self.store, Instant::now());
        let mut read: Option<Beginning> = None;
        let due = self.unstarted.iter_mut().filter(|(_, unstarted)| unstarted.attempt.is_none() && unstarted.due <= now);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, unstarted)| unstarted.due);
        for (&partition, unstarted) in due.into_iter().take(room) {
            let beginning = match unstarted.beginning.take() {
                Some(known) => async { Ok(known) }.boxed().shared(),
                None => read.get_or_insert_with(|| reading(store)).clone(),
            };
            unstarted.attempt = Some(start(Arc::clone(source), partition, beginning).boxed());
        }
    }

    fn poll_attempts(&mut self, context: &mut Context<'_>) -> Poll<(Partition, Result<(), StartError>)> {
        for (&partition, unstarted) in &mut self.unstarted {
            let Some(attempt) = &mut unstarted.attempt else { continue };
            let Poll::Ready(ended) = attempt.poll_unpin(context) else { continue };
            if ended.is_ok() {
                self.unstarted.remove(&partition);
            } else {
                unstarted.attempt = None;
                unstarted.due = Instant::now() + unstarted.pauses.next_pause();
            }
            return Poll::Ready((partition, ended));
        }
        Poll::Pending
    }
}

fn reading(store: &Arc<dyn TallyStore>) -> Beginning {
    let store = Arc::clone(store);
    async move { store.checkpoint().await.map(Arc::new).map_err(Arc::new) }.boxed().shared()
}

async fn start(source: Arc<dyn VoteSource>, partition: Partition, beginning: Beginning) -> Result<(), StartError> {
    let checkpoint = beginning.await.map_err(StartError::Store)?;
    let started = source.start(partition, checkpoint.next(partition), checkpoint.last(partition)).await;
    started.map_err(StartError::Log)
}
