//! Polls as they are shown: cached, up to date, and ready to be sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polling_core::bus::Update;
use polling_core::checkpoint::Checkpoint;
use polling_core::clock::{Clock, Timestamp};
use polling_core::model::{PollId, PollState, Tally};
use polling_core::store::{PollSnapshot, PollStore, StoreError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::frame::PollFrame;
use super::reads::{Joined, Reads, another};
use crate::api::types::PollBody;

/// Bytes of polls kept ready, those that are read and watched now: some ten thousand polls of a few short options.
const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many that is, about.
const CACHED_POLLS: usize = 32 * 1024;
/// What a poll takes besides its texts, roughly: the structures, and for each option the numbers and names in two bodies, and the
/// numbers in a frame.
const POLL_BYTES: usize = 1024;
const OPTION_BYTES: usize = 128;
/// Groups of polls that forget together: so many that a flood of news about some hardly ever touches a read of another.
const FORGETTING_GROUPS: usize = 4096;
/// How long a poll is shown without asking the store again: what a lost update costs a reader at most.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long a reader of a known poll waits for a store that does not answer, before it is shown what is known.
const PATIENCE: Duration = Duration::from_millis(500);

/// Polls that are remembered not to be there, at most: some 2 MB.
const ABSENT_MAX: u64 = 16_384;
/// How long a poll that is not there is not looked for again: long enough to take the weight out of a burst of requests for it.
///
/// A server makes the identifier, and knows at once what it made itself. So this can only keep a poll from being shown that
/// another server makes within that time after somebody has guessed its name.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// A body that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sendable {
    /// JSON.
    pub body: Bytes,
    /// A strong entity tag, with its quotes.
    pub etag: String,
}

/// A poll at a version.
#[derive(Debug)]
pub struct PollView {
    snapshot: PollSnapshot,
    /// What the bodies below were made for; they are of no use once the state has changed by itself.
    state: PollState,
    with_results: OnceLock<Sendable>,
    without_results: OnceLock<Sendable>,
    frame: OnceLock<Arc<PollFrame>>,
}

impl PollView {
    /// What is shown of the snapshot from `now` on.
    #[must_use]
    pub fn new(snapshot: PollSnapshot, now: Timestamp) -> Self {
        let state = snapshot.poll.state_shown(now);
        Self { snapshot, state, with_results: OnceLock::new(), without_results: OnceLock::new(), frame: OnceLock::new() }
    }

    /// The poll and its tally.
    #[must_use]
    pub const fn snapshot(&self) -> &PollSnapshot {
        &self.snapshot
    }

    /// The body of `GET /polls/{id}` at `now`.
    #[must_use]
    pub fn sendable(&self, now: Timestamp, visible: bool) -> Sendable {
        if self.snapshot.poll.state_shown(now) != self.state {
            return self.serialised(now, visible);
        }
        let cached = if visible { &self.with_results } else { &self.without_results };
        cached.get_or_init(|| self.serialised(now, visible)).clone()
    }

    /// What watchers are shown at `now`: the same for all of them, as long as the state is the same.
    #[must_use]
    pub fn frame(&self, now: Timestamp) -> Arc<PollFrame> {
        let rendered = || Arc::new(PollFrame::new(&self.snapshot, now));
        if self.snapshot.poll.state_shown(now) != self.state {
            return rendered();
        }
        Arc::clone(self.frame.get_or_init(rendered))
    }

    /// What it takes in memory, roughly: the texts once, and again in each of the two bodies.
    fn bytes(&self) -> usize {
        let poll = &self.snapshot.poll;
        let texts = poll.question.len() + poll.options.iter().map(String::len).sum::<usize>();
        POLL_BYTES + poll.options.len() * OPTION_BYTES + 3 * texts
    }

    fn serialised(&self, now: Timestamp, visible: bool) -> Sendable {
        let body = PollBody::new(&self.snapshot, now, visible);
        let version = self.snapshot.tally.version;
        let shown = if visible { "" } else { ".hidden" };
        let etag = format!("\"{}.{}.{}{shown}\"", version.epoch, version.number, body.state);
        // The body is made of texts and numbers, which always serialise.
        Sendable { body: serde_json::to_vec(&body).unwrap_or_default().into(), etag }
    }
}

/// A view, and how far it is to be trusted. It stays when it is not fresh any more, for the time in which the store cannot be read:
/// it was true once, and nothing newer was shown here.
#[derive(Clone)]
struct Kept {
    view: Arc<PollView>,
    /// When the store or the news said last that it is the newest.
    confirmed: Instant,
    /// Whether news said since then that there is a newer one.
    is_outdated: bool,
    /// How often news had been lost by then.
    losses: u64,
}

/// Weighs what is kept by its bytes.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<PollId, Kept> for Weight {
    fn weight(&self, _poll: &PollId, kept: &Kept) -> u64 {
        kept.view.bytes() as u64
    }
}

/// The polls that are shown, and how far counting has come.
pub struct Views {
    polls: Arc<dyn PollStore>,
    reads: Reads,
    clock: Arc<dyn Clock>,
    /// A look into it is a good part of what a vote takes, so it is the cache that looks fastest.
    cache: Cache<PollId, Kept, Weight>,
    absent: moka::sync::Cache<PollId, ()>,
    /// Held while a view is compared with the cached one and put in its place.
    placing: Mutex<()>,
    /// For each group of polls, grows whenever one was forgotten: a read that began before must not be cached after.
    forgotten: Box<[AtomicU64]>,
    /// How often news was lost: what was confirmed before is not fresh.
    losses: AtomicU64,
    progress: watch::Sender<Checkpoint>,
}

impl Views {
    /// Views over this store.
    #[must_use]
    pub fn new(polls: Arc<dyn PollStore>, clock: Arc<dyn Clock>) -> Self {
        let cache = Cache::with_weighter(CACHED_POLLS, CACHED_BYTES_MAX, Weight);
        let absent = moka::sync::Cache::builder().max_capacity(ABSENT_MAX).time_to_live(ABSENT_FOR).build();
        let forgotten = (0..FORGETTING_GROUPS).map(|_| AtomicU64::new(0)).collect();
        let losses = AtomicU64::new(0);
        let (reads, progress) = (Reads::default(), watch::Sender::default());
        Self { polls, reads, clock, cache, absent, placing: Mutex::new(()), forgotten, losses, progress }
    }

    /// The poll as it is now; `None` when there is none. Never older than what [`absorb`](Self::absorb) was told, as long as the store
    /// can be read. While it cannot, the newest that was shown here, unless its definition is known to have changed.
    ///
    /// # Errors
    ///
    /// Those of the store, which is asked only when the poll is not cached and was not looked for in vain just now.
    pub async fn poll(&self, poll: PollId) -> Result<Option<Arc<PollView>>, StoreError> {
        let kept = self.cache.get(&poll);
        if let Some(kept) = kept.as_ref().filter(|kept| self.is_fresh(kept)) {
            return Ok(Some(Arc::clone(&kept.view)));
        }
        if self.absent.contains_key(&poll) {
            return Ok(None);
        }
        let forgotten = self.forgotten(poll).load(Ordering::SeqCst);
        let polls = Arc::clone(&self.polls);
        let known = || self.cached(poll).map(Some).or_else(|| self.absent.contains_key(&poll).then_some(None));
        let reading = match self.reads.join(poll, forgotten, known, async move { polls.read(poll).await }) {
            Joined::Reading(reading) => reading,
            Joined::Known(view) => return Ok(view),
        };
        let read = match kept {
            None => reading.clone().await.map_err(another)?,
            // A read that has begun goes on by itself: its connection would have to be thrown away otherwise.
            Some(kept) => match tokio::time::timeout(PATIENCE, tokio::spawn(reading.clone())).await {
                Ok(Ok(Ok(read))) => read,
                Ok(Ok(Err(error))) if !error.is_retryable() => return Err(another(error)),
                Ok(_) | Err(_) => return Ok(Some(kept.view)),
            },
        };
        let view = match read {
            Some(snapshot) => Some(self.place(&snapshot, forgotten)),
            None => {
                self.note_absent(poll, forgotten);
                None
            }
        };
        // Only now: whoever finds no read under way finds what it said.
        drop(reading);
        Ok(view)
    }

    /// The poll as [`poll`](Self::poll) would answer it without asking the store.
    #[must_use]
    pub fn cached(&self, poll: PollId) -> Option<Arc<PollView>> {
        self.cache.get(&poll).filter(|kept| self.is_fresh(kept)).map(|kept| kept.view)
    }

    /// The poll as it was shown last, however long ago that is, as long as its definition is not known to have changed.
    #[must_use]
    pub fn known(&self, poll: PollId) -> Option<Arc<PollView>> {
        self.cache.get(&poll).map(|kept| kept.view)
    }

    /// For how long the poll has been shown without the word of the store; `None` while it is fresh, or not kept.
    #[must_use]
    pub fn stale_for(&self, poll: PollId) -> Option<Duration> {
        let kept = self.cache.get(&poll).filter(|kept| !self.is_fresh(kept))?;
        Some(kept.confirmed.elapsed().saturating_sub(FRESH_FOR))
    }

    fn is_fresh(&self, kept: &Kept) -> bool {
        !kept.is_outdated && kept.losses == self.losses.load(Ordering::SeqCst) && kept.confirmed.elapsed() < FRESH_FOR
    }

    fn confirmed(&self, view: Arc<PollView>) -> Kept {
        Kept { view, confirmed: Instant::now(), is_outdated: false, losses: self.losses.load(Ordering::SeqCst) }
    }

    /// Takes in news.
    pub fn absorb(&self, updates: &[Update]) {
        for update in updates {
            match update {
                Update::Tally(tally) => self.absorb_tally(tally),
                Update::Changed(poll) => self.forget(*poll),
                Update::Progress { partition, next } => {
                    self.progress.send_if_modified(|progress| {
                        let news = progress.next(*partition) < *next;
                        if news {
                            progress.set(*partition, *next);
                        }
                        news
                    });
                }
                Update::Audience(_) => {}
            }
        }
    }

    /// Has the poll read again: it was created, or has changed.
    pub fn forget(&self, poll: PollId) {
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgotten(poll).fetch_add(1, Ordering::SeqCst);
        self.cache.remove(&poll);
        self.absent.invalidate(&poll);
    }

    /// Has everything read again: news was lost.
    pub fn forget_all(&self) {
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        for group in &self.forgotten {
            group.fetch_add(1, Ordering::SeqCst);
        }
        self.losses.fetch_add(1, Ordering::SeqCst);
        self.absent.invalidate_all();
    }

    /// How far votes have been counted, as far as this server has heard.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Checkpoint> {
        self.progress.subscribe()
    }

    /// A tally says nothing of the definition. It fits the definition that is cached only when it is the very next version;
    /// otherwise the definition may have changed in between, and the poll is read again.
    fn absorb_tally(&self, tally: &Tally) {
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = self.cache.get(&tally.poll) else {
            // A read that is on its way may have begun before this tally was committed.
            self.forgotten(tally.poll).fetch_add(1, Ordering::SeqCst);
            self.absent.invalidate(&tally.poll);
            return;
        };
        let known = kept.view.snapshot.tally.version;
        if tally.version <= known {
            return;
        }
        let next = if tally.version.epoch == known.epoch && tally.version.number == known.number + 1 {
            let snapshot = PollSnapshot { poll: kept.view.snapshot.poll.clone(), tally: tally.clone() };
            let view = Arc::new(PollView::new(snapshot, self.clock.now()));
            // It may be the one that was missing, and not the newest.
            if kept.is_outdated { Kept { view, ..kept } } else { Kept { losses: kept.losses, ..self.confirmed(view) } }
        } else {
            self.forgotten(tally.poll).fetch_add(1, Ordering::SeqCst);
            Kept { is_outdated: true, ..kept }
        };
        self.cache.insert(tally.poll, next);
    }

    fn forgotten(&self, poll: PollId) -> &AtomicU64 {
        // The last bits of the identifier are random.
        let [.., first, second] = *poll.as_uuid().as_bytes();
        &self.forgotten[usize::from(u16::from_be_bytes([first, second])) % FORGETTING_GROUPS]
    }

    /// Remembers that the poll is not there, unless something was forgotten since `forgotten` was read.
    fn note_absent(&self, poll: PollId, forgotten: u64) {
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if forgotten == self.forgotten(poll).load(Ordering::SeqCst) {
            self.cache.remove(&poll);
            self.absent.insert(poll, ());
        }
    }

    /// Keeps what was read unless a newer view is there; answers the newer. When something was forgotten since `forgotten` was read, it
    /// may be outdated, or its poll be gone.
    fn place(&self, read: &PollSnapshot, forgotten: u64) -> Arc<PollView> {
        let (poll, version) = (read.poll.id, read.tally.version);
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = forgotten == self.forgotten(poll).load(Ordering::SeqCst);
        let known = self.cache.get(&poll);
        let newest = match &known {
            Some(known) if known.view.snapshot.tally.version > version => return Arc::clone(&known.view),
            // What was made ready to be sent stays of use.
            Some(known) if known.view.snapshot.tally.version == version => Arc::clone(&known.view),
            _ => Arc::new(PollView::new(read.clone(), self.clock.now())),
        };
        match known {
            _ if is_current => self.cache.insert(poll, self.confirmed(Arc::clone(&newest))),
            // It is shown now, so nothing older may be shown later.
            Some(known) => self.cache.insert(poll, Kept { view: Arc::clone(&newest), is_outdated: true, ..known }),
            None => {}
        }
        newest
    }
}
