//! How many watch a poll, here and at the other servers: for those who ask, and approximate.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polling_core::bus::{self, AUDIENCE_POLLS_MAX, Update, UpdateBus};
use polling_core::model::PollId;
use polling_core::shutdown::Shutdown;
use polling_core::store::StoreError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::frame::{PollFrame, PollNews};
use super::hub::{Hub, Watched};

/// How long a changed number waits for another change: it matters less than results, and changes whenever somebody comes or goes.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a server says how many watch there.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// For how long the others believe it: through two announcements that are lost.
const VALID_FOR: Duration = Duration::from_secs(7);
/// Polls of which a server says how many watch there, at most; of more, those with the most watchers. Some 80 kB.
const ANNOUNCED_MAX: usize = 4096;
/// Servers whose numbers are kept for one poll, at most: whoever can write to the bus can invent servers.
const SERVERS_MAX: usize = 256;

/// Counts watchers.
#[derive(Debug)]
pub struct Audience {
    /// Names this server from its start to its end.
    server: Uuid,
    /// The polls of which somebody here wants to know how many watch.
    counted: Mutex<HashMap<PollId, Counted>>,
}

#[derive(Debug)]
struct Counted {
    /// The news of the poll, with the number in it.
    news: watch::Sender<PollNews>,
    /// How many watch at other servers, and until when that holds.
    elsewhere: HashMap<Uuid, (u32, Instant)>,
    /// Whether somebody who came was told another number than the news have, and so has to be told of the next, even where it is the one
    /// that all others know.
    has_told_another: bool,
}

impl Counted {
    fn elsewhere(&self) -> u64 {
        let now = Instant::now();
        self.elsewhere.values().filter(|&&(_, until)| until > now).map(|&(count, _)| u64::from(count)).sum()
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self { server: Uuid::new_v4(), counted: Mutex::default() }
    }
}

impl Audience {
    /// Takes in what a server says of itself.
    pub fn absorb(&self, news: &bus::Audience) {
        if news.server == self.server {
            return;
        }
        let now = Instant::now();
        let mut counted = self.counted();
        for &(poll, count) in &news.watchers {
            let Some(counted) = counted.get_mut(&poll) else { continue };
            counted.elsewhere.retain(|_, &mut (_, until)| until > now);
            if counted.elsewhere.len() < SERVERS_MAX || counted.elsewhere.contains_key(&news.server) {
                counted.elsewhere.insert(news.server, (count, now + news.valid_for.min(VALID_FOR)));
            }
        }
    }

    /// How many watch at this server, and at the others: `direct` get the news of the poll as they are. One of these is the counting
    /// itself, where there is one, which passes them on to those who want to know.
    fn watchers(&self, poll: PollId, direct: usize) -> (usize, u64) {
        match self.counted().get(&poll) {
            Some(counted) => ((direct + counted.news.receiver_count()).saturating_sub(1), counted.elsewhere()),
            None => (direct, 0),
        }
    }

    /// Somebody who came is told this number.
    fn note_told(&self, poll: PollId, viewers: u64) {
        if let Some(counted) = self.counted().get_mut(&poll) {
            let is_another = matches!(&*counted.news.borrow(), PollNews::Frame(known) if !known.says(viewers));
            counted.has_told_another |= is_another;
        }
    }

    /// Whether somebody was told another number since this was asked last.
    fn take_told_another(&self, poll: PollId) -> bool {
        self.counted().get_mut(&poll).is_some_and(|counted| std::mem::take(&mut counted.has_told_another))
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<PollId, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Watches a poll, as [`watch_poll`](Self::watch_poll), with how many watch in each frame, and in frames of their own between them.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn watch_counted_poll(self: &Arc<Self>, poll: PollId) -> Result<Option<Watched>, StoreError> {
        let Some(Watched { mut first, news: base }) = self.watch_poll(poll).await? else { return Ok(None) };
        let news = {
            let mut counted = self.audience.counted();
            match counted.get(&poll) {
                Some(counted) => {
                    let news = counted.news.subscribe();
                    // From here on this watcher is counted there.
                    drop(base);
                    // What was sent between the read and the subscription does not come again.
                    let PollNews::Frame(newest) = news.borrow().or_newer(first) else { return Ok(None) };
                    first = newest;
                    news
                }
                None => {
                    let (sender, news) = watch::channel(PollNews::Frame(Arc::clone(&first)));
                    counted.insert(poll, Counted { news: sender.clone(), elsewhere: HashMap::new(), has_told_another: false });
                    tokio::spawn(Arc::clone(self).count(poll, Arc::clone(&first), base, sender));
                    news
                }
            }
        };
        let viewers = self.viewers(poll);
        self.audience.note_told(poll, viewers);
        let first = Arc::new(first.with_viewers(poll, viewers));
        Ok(Some(Watched { first, news }))
    }

    /// How many watch the poll, as far as is known here.
    fn viewers(&self, poll: PollId) -> u64 {
        let (here, elsewhere) = self.audience.watchers(poll, self.receivers(poll));
        here as u64 + elsewhere
    }

    /// Puts the number into the news of a poll for as long as somebody wants to know.
    async fn count(
        self: Arc<Self>,
        poll: PollId,
        mut frame: Arc<PollFrame>,
        mut news: watch::Receiver<PollNews>,
        counted: watch::Sender<PollNews>,
    ) {
        let mut recount = tokio::time::interval_at(Instant::now() + COUNT_INTERVAL, COUNT_INTERVAL);
        recount.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = counted.closed() => {
                    if self.remove_uncounted(poll) {
                        return;
                    }
                    // Somebody came in the meantime.
                    continue;
                }
                changed = news.changed() => {
                    let latest = changed.map_or(PollNews::Gone, |()| news.borrow_and_update().clone());
                    match latest {
                        PollNews::Frame(latest) => frame = latest,
                        PollNews::Gone => {
                            self.audience.counted().remove(&poll);
                            counted.send_replace(PollNews::Gone);
                            return;
                        }
                    }
                    counted.send_replace(PollNews::Frame(Arc::new(frame.with_viewers(poll, self.viewers(poll)))));
                }
                _ = recount.tick() => {
                    let has_told_another = self.audience.take_told_another(poll);
                    let viewers = self.viewers(poll);
                    counted.send_if_modified(|latest| {
                        let is_news = matches!(latest, PollNews::Frame(known) if has_told_another || !known.says(viewers));
                        if is_news {
                            *latest = PollNews::Frame(Arc::new(frame.with_viewers(poll, viewers)));
                        }
                        is_news
                    });
                }
            }
        }
    }

    /// Forgets the poll unless somebody wants to know. Under the lock, so that nobody can come in between.
    fn remove_uncounted(&self, poll: PollId) -> bool {
        let mut counted = self.audience.counted();
        let unwanted = counted.get(&poll).is_none_or(|counted| counted.news.receiver_count() == 0);
        if unwanted {
            counted.remove(&poll);
        }
        unwanted
    }

    /// Tells the other servers how many watch here, until `shutdown` is requested.
    pub async fn announce(self: Arc<Self>, bus: Arc<dyn UpdateBus>, shutdown: Shutdown) {
        let announcing = async {
            let mut announced = HashSet::new();
            loop {
                tokio::time::sleep(ANNOUNCE_INTERVAL).await;
                let updates = self.announcement(&mut announced);
                // Nothing is lost with it that the next one does not say.
                if !updates.is_empty() && bus.publish(updates).await.is_err() {
                    tracing::debug!("it was not announced how many watch here");
                }
            }
        };
        tokio::select! {
            () = shutdown.requested() => {}
            () = announcing => {}
        }
    }

    /// What is watched here, and what was when this was asked last and is not any more.
    fn announcement(&self, announced: &mut HashSet<PollId>) -> Vec<Update> {
        let mut watchers: Vec<(PollId, u32)> = self
            .all_receivers()
            .into_iter()
            .map(|(poll, direct)| (poll, u32::try_from(self.audience.watchers(poll, direct).0).unwrap_or(u32::MAX)))
            .collect();
        watchers.sort_unstable_by_key(|&(_, count)| std::cmp::Reverse(count));
        watchers.truncate(ANNOUNCED_MAX);
        let watched: HashSet<PollId> = watchers.iter().map(|&(poll, _)| poll).collect();
        watchers.extend(announced.difference(&watched).map(|&poll| (poll, 0)));
        *announced = watched;
        let audience = |watchers: &[(PollId, u32)]| {
            let watchers = watchers.to_vec();
            Update::Audience(bus::Audience { server: self.audience.server, valid_for: VALID_FOR, watchers })
        };
        watchers.chunks(AUDIENCE_POLLS_MAX).map(audience).collect()
    }
}
