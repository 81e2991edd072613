//! Carries news to watchers: one frame for each topic and interval, whoever watches it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polling_core::bus::Update;
use polling_core::clock::Clock;
use polling_core::model::{PollId, Version};
use polling_core::shutdown::Shutdown;
use polling_core::store::{StoreError, TallyStore};
use tokio::sync::{Notify, watch};

use super::audience::Audience;
use super::board::{Board, REFILL_INTERVAL};
use super::frame::{BoardFrame, PollFrame, PollNews};
use super::views::Views;
use crate::api::types::LeaderboardBody;

/// How often the store is asked for what is being watched: what a lost update costs a watcher at most.
const RECONCILE_INTERVAL: Duration = Duration::from_millis(1500);
/// Polls asked for in one query.
const RECONCILE_POLLS_MAX: usize = 500;
/// Places in the frames of the leaderboard.
pub(super) const LEADERBOARD_PLACES: usize = 10;
/// The shortest interval between two frames that can be set: below it, frames cost more than they show.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The topics that are being watched.
pub struct Hub {
    views: Arc<Views>,
    board: Arc<Board>,
    tallies: Arc<dyn TallyStore>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    topics: Mutex<HashMap<PollId, Topic>>,
    /// Those who want to know how many watch with them.
    pub(super) audience: Audience,
    board_dirty: Notify,
    board_frames: watch::Sender<Option<BoardFrame>>,
    /// The newest version of the board with which somebody began to watch, which others may not have been sent.
    board_begun: AtomicU64,
}

struct Topic {
    dirty: Arc<Notify>,
    news: watch::Sender<PollNews>,
}

/// A poll that is watched: how it is now, and what comes.
#[derive(Debug)]
pub struct Watched {
    /// The newest state at the time of the call.
    pub first: Arc<PollFrame>,
    /// What comes; the newest always replaces what was not taken yet.
    pub news: watch::Receiver<PollNews>,
}

impl Hub {
    /// A hub over these. Frames of one topic are at least `interval` apart.
    #[must_use]
    pub fn new(
        views: Arc<Views>,
        board: Arc<Board>,
        tallies: Arc<dyn TallyStore>,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            views,
            board,
            tallies,
            clock,
            interval: interval.max(INTERVAL_MIN),
            topics: Mutex::default(),
            audience: Audience::default(),
            board_dirty: Notify::new(),
            board_frames: watch::Sender::new(None),
            board_begun: AtomicU64::new(0),
        })
    }

    /// Takes in news: whoever reads or watches from now on sees it. Returns at once.
    pub fn absorb(&self, updates: &[Update]) {
        self.views.absorb(updates);
        if self.board.absorb(updates) {
            self.board_dirty.notify_one();
        }
        for update in updates {
            if let Update::Audience(news) = update {
                self.audience.absorb(news);
            }
        }
        let topics = self.topics();
        if topics.is_empty() {
            return;
        }
        for update in updates {
            let (Update::Changed(poll) | Update::Tally(polling_core::model::Tally { poll, .. })) = update else { continue };
            if let Some(topic) = topics.get(poll) {
                topic.dirty.notify_one();
            }
        }
    }

    /// Has everything read again: news was lost.
    pub fn forget_all(&self) {
        self.views.forget_all();
        self.board.forget_all();
        self.board_dirty.notify_one();
        self.topics().values().for_each(|topic| topic.dirty.notify_one());
    }

    /// Watches a poll; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Those of the store, which is asked only when nobody has read or watched the poll lately.
    pub async fn watch_poll(self: &Arc<Self>, poll: PollId) -> Result<Option<Watched>, StoreError> {
        let Some(view) = self.views.poll(poll).await? else { return Ok(None) };
        // Made before the lock, which counting needs as well; and by one for all who come at once.
        let mut first = view.frame(self.clock.now());
        let mut topics = self.topics();
        let news = match topics.get(&poll) {
            Some(topic) => {
                let news = topic.news.subscribe();
                // What was sent between the read and the subscription does not come again.
                let PollNews::Frame(newest) = news.borrow().or_newer(first) else { return Ok(None) };
                first = newest;
                news
            }
            None => {
                let (news, receiver) = watch::channel(PollNews::Frame(Arc::clone(&first)));
                let dirty = Arc::new(Notify::new());
                // Something may have changed since the view was read and before the topic could be told.
                dirty.notify_one();
                let task = Arc::clone(self).run_topic(poll, Arc::clone(&dirty), news.clone());
                topics.insert(poll, Topic { dirty, news });
                tokio::spawn(task);
                receiver
            }
        };
        Ok(Some(Watched { first, news }))
    }

    /// Watches the leaderboard: the newest frame, and then each that differs.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn watch_leaderboard(&self) -> Result<(BoardFrame, watch::Receiver<Option<BoardFrame>>), StoreError> {
        if self.board_frames.receiver_count() == 0 {
            // What was shown when somebody watched last may be long ago: nothing has moved since then that anybody saw.
            self.board_frames.send_replace(None);
        }
        // Subscribed first: what changes after that comes as news.
        let news = self.board_frames.subscribe();
        let body = self.board.top(LEADERBOARD_PLACES).await?;
        let latest = self.board_frames.borrow().clone();
        let first = match latest {
            Some(latest) if self.is_known_to_all(&latest, &body) => latest,
            latest => {
                self.board_begun.fetch_max(body.version, Ordering::SeqCst);
                BoardFrame::new(self.board.process(), &body, latest.as_ref())
            }
        };
        // Whoever is the first to watch begins the topic. For all others, its next frame comes at its time.
        self.board_frames.send_if_modified(|latest| {
            latest.get_or_insert_with(|| first.clone());
            false
        });
        Ok((first, news))
    }

    /// Whether nobody who watches is shown anything else than `body`, `latest` being the latest frame for all of them.
    fn is_known_to_all(&self, latest: &BoardFrame, body: &LeaderboardBody) -> bool {
        latest.version.number >= self.board_begun.load(Ordering::SeqCst) && latest.shows(body)
    }

    /// How many get the news of a poll.
    pub(super) fn receivers(&self, poll: PollId) -> usize {
        self.topics().get(&poll).map_or(0, |topic| topic.news.receiver_count())
    }

    /// The same of all that are watched.
    pub(super) fn all_receivers(&self) -> Vec<(PollId, usize)> {
        self.topics().iter().map(|(&poll, topic)| (poll, topic.news.receiver_count())).collect()
    }

    /// Watched polls, for a gauge.
    #[must_use]
    pub fn topics_watched(&self) -> usize {
        self.topics().len()
    }

    /// Keeps the leaderboard's frames coming and holds what is watched against the store, until `shutdown` is requested.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let board = self.run_board();
        let reconciliation = self.run_reconciliation();
        let board_reconciliation = self.run_board_reconciliation();
        tokio::select! {
            () = shutdown.requested() => {}
            () = board => {}
            () = reconciliation => {}
            () = board_reconciliation => {}
        }
    }

    async fn run_topic(self: Arc<Self>, poll: PollId, dirty: Arc<Notify>, news: watch::Sender<PollNews>) {
        // The snapshot for whom the topic was made is its first frame, so the next keeps the interval from it, too.
        tokio::time::sleep(self.interval).await;
        loop {
            tokio::select! {
                biased;
                () = news.closed() => {
                    if self.remove_unwatched(poll) {
                        return;
                    }
                    // Somebody came in the meantime.
                    continue;
                }
                () = dirty.notified() => {}
            }
            match self.views.poll(poll).await {
                Ok(Some(view)) => {
                    let frame = view.frame(self.clock.now());
                    let is_sent = news.send_if_modified(|latest| {
                        let newer = matches!(latest, PollNews::Frame(known) if known.version < frame.version);
                        if newer {
                            *latest = PollNews::Frame(frame);
                        }
                        newer
                    });
                    if !is_sent {
                        continue;
                    }
                }
                Ok(None) => {
                    news.send_replace(PollNews::Gone);
                }
                // The store is in trouble; reconciliation asks again.
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a watched poll was not read"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Forgets the topic unless somebody watches it. Under the lock, so that nobody can come in between.
    fn remove_unwatched(&self, poll: PollId) -> bool {
        let mut topics = self.topics();
        let unwatched = topics.get(&poll).is_none_or(|topic| topic.news.receiver_count() == 0);
        if unwatched {
            topics.remove(&poll);
        }
        unwatched
    }

    async fn run_board(&self) {
        loop {
            self.board_dirty.notified().await;
            if self.board_frames.receiver_count() > 0 {
                match self.board.top(LEADERBOARD_PLACES).await {
                    Ok(body) => {
                        self.board_frames.send_if_modified(|latest| {
                            let is_new =
                                |known: &BoardFrame| known.version.number < body.version && !self.is_known_to_all(known, &body);
                            let news = latest.as_ref().is_none_or(is_new);
                            if news {
                                *latest = Some(BoardFrame::new(self.board.process(), &body, latest.as_ref()));
                            }
                            news
                        });
                    }
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "the leaderboard was not read");
                        // The news is still there to be worked in.
                        self.board_dirty.notify_one();
                    }
                }
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn run_reconciliation(&self) {
        loop {
            tokio::time::sleep(RECONCILE_INTERVAL).await;
            // A poll may have closed by its plan, of which the board hears only when somebody looks.
            self.board_dirty.notify_one();
            let watched: Vec<(PollId, Version)> = self
                .topics()
                .iter()
                .filter_map(|(&poll, topic)| match &*topic.news.borrow() {
                    PollNews::Frame(frame) => Some((poll, frame.version)),
                    PollNews::Gone => None,
                })
                .collect();
            for some in watched.chunks(RECONCILE_POLLS_MAX) {
                if let Err(error) = self.reconcile(some).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "what is watched was not held against the store");
                }
            }
        }
    }

    async fn run_board_reconciliation(&self) {
        loop {
            tokio::time::sleep(REFILL_INTERVAL).await;
            match self.board.reconcile().await {
                Ok(()) => self.board_dirty.notify_one(),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the leaderboard was not held against the store");
                }
            }
        }
    }

    async fn reconcile(&self, watched: &[(PollId, Version)]) -> Result<(), StoreError> {
        let ids: Vec<PollId> = watched.iter().map(|&(poll, _)| poll).collect();
        let tallies = self.tallies.tallies(&ids).await?;
        let kept: HashMap<PollId, Version> = tallies.into_iter().map(|tally| (tally.poll, tally.version)).collect();
        for &(poll, shown) in watched {
            if kept.get(&poll) != Some(&shown) {
                // The usual case is an update on its way; reading once more than needed is cheap.
                self.absorb(&[Update::Changed(poll)]);
            }
        }
        Ok(())
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<PollId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
