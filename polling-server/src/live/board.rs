//! The leaderboard as it is shown.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polling_core::bus::Update;
use polling_core::clock::Clock;
use polling_core::leaderboard::{BOARD_OPTIONS_MAX, PLACES_WATCHED};
use polling_core::model::{PollId, PollState, ResultsVisibility};
use polling_core::store::{Leader, StoreError, TallyStore};

use super::rounds::Rounds;
use super::standings::Standings;
use super::views::{PollView, Sendable, Views};
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// How often the board is held against the store while somebody looks: what a lost update costs at most. A scan goes over the totals of
/// all open polls, so it is as rare as somebody who looks at the board does not yet take it for wrong.
pub const REFILL_INTERVAL: Duration = Duration::from_secs(20);
/// Polls read for one look; the others wait for the next. Some tenths of a second.
const READS_MAX: usize = 300;
/// Polls that may leave the board in one look before the rest is rather found by a scan: they close together, by their plan.
const LEAVING_MAX: usize = 100;
/// How often one look sorts anew because totals were newer than the board, before it shows them a moment late.
const SORTS_MAX: usize = 3;

/// Keeps the leaderboard over the open polls whose results everybody may see.
///
/// Totals of options on the board are taken in as they come. All other news is noted and worked in when somebody looks, once for all
/// who look at the same time. A look that is dropped half way leaves what it has not finished to the next.
pub struct Board {
    tallies: Arc<dyn TallyStore>,
    views: Arc<Views>,
    clock: Arc<dyn Clock>,
    standings: Mutex<Standings>,
    /// In which the news is worked in.
    rounds: Arc<Rounds>,
    /// Held while the store is scanned.
    filling: tokio::sync::Mutex<()>,
    rendered: Mutex<Rendered>,
    /// Whether somebody has looked since the board was held against the store.
    is_looked_at: AtomicBool,
    /// Tells the versions of this process from those of another, in entity tags.
    process: u64,
}

/// For each limit, the body that was rendered last, and of which version: as many as there are limits, some hundred.
type Rendered = HashMap<usize, (u64, Sendable)>;

/// The best options at a version, in their order.
struct Ranking {
    version: u64,
    places: Vec<(Leader, Arc<PollView>)>,
}

impl Ranking {
    fn body(&self) -> LeaderboardBody {
        let entry = |((leader, view), rank): (&(Leader, Arc<PollView>), _)| LeaderboardEntry::new(rank, leader, view.snapshot());
        LeaderboardBody { version: self.version, entries: self.places.iter().zip(1..).filter_map(entry).collect() }
    }
}

/// What was found about the best options.
#[derive(Default)]
struct Found {
    places: Vec<(Leader, Arc<PollView>)>,
    /// Polls that do not belong on the board.
    misplaced: Vec<PollId>,
    /// Those of the others of which the store has said just now how they are.
    fresh: Vec<Arc<PollView>>,
}

/// A scan of the store, until it is dropped.
struct Scan<'a> {
    standings: &'a Mutex<Standings>,
    begun: u64,
}

impl<'a> Scan<'a> {
    fn begin(standings: &'a Mutex<Standings>) -> Self {
        let begun = lock(standings).begin_scan();
        Self { standings, begun }
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        lock(self.standings).end_scan();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// A board that fills itself when somebody looks at it.
    #[must_use]
    pub fn new(tallies: Arc<dyn TallyStore>, views: Arc<Views>, clock: Arc<dyn Clock>) -> Self {
        let process = clock.now().as_micros().unsigned_abs();
        Self {
            tallies,
            views,
            clock,
            standings: Mutex::default(),
            rounds: Arc::default(),
            filling: tokio::sync::Mutex::default(),
            rendered: Mutex::default(),
            is_looked_at: AtomicBool::new(false),
            process,
        }
    }

    /// Tells the versions of this process from those of another.
    #[must_use]
    pub const fn process(&self) -> u64 {
        self.process
    }

    /// Takes in news; answers whether any of it may matter. Call it after [`Views::absorb`].
    pub fn absorb(&self, updates: &[Update]) -> bool {
        let mut standings = self.standings();
        let mut matters = false;
        for update in updates {
            matters |= standings.absorb(update);
        }
        matters
    }

    /// Has the board filled anew: news was lost.
    pub fn forget_all(&self) {
        self.standings().spoil();
    }

    /// Holds the board against the store. Where nobody looks, whoever looks next will.
    ///
    /// # Errors
    ///
    /// Those of the store; the board stays as it is.
    pub async fn reconcile(&self) -> Result<(), StoreError> {
        if !self.is_looked_at.swap(false, Ordering::Relaxed) {
            self.standings().spoil();
            return Ok(());
        }
        let _filling = self.filling.lock().await;
        self.fill().await
    }

    /// The best options, at most `limit`, with what was noted before the call; of more polls than one look may read, with the first.
    ///
    /// # Errors
    ///
    /// Those of the store. While it cannot be scanned, a board that was filled before is shown as it was last.
    pub async fn top(self: &Arc<Self>, limit: usize) -> Result<LeaderboardBody, StoreError> {
        Ok(self.ranking(limit).await?.body())
    }

    /// The body of `GET /leaderboard`, rendered once for each version and limit.
    ///
    /// # Errors
    ///
    /// Those of [`top`](Self::top).
    pub async fn sendable(self: &Arc<Self>, limit: usize) -> Result<Sendable, StoreError> {
        let ranking = self.ranking(limit).await?;
        let mut rendered = lock(&self.rendered);
        if let Some((version, sendable)) = rendered.get(&limit)
            && *version == ranking.version
        {
            return Ok(sendable.clone());
        }
        let etag = format!("\"{:x}.{}.{limit}\"", self.process, ranking.version);
        // The body is made of texts and numbers, which always serialise.
        let sendable = Sendable { body: serde_json::to_vec(&ranking.body()).unwrap_or_default().into(), etag };
        rendered.insert(limit, (ranking.version, sendable.clone()));
        Ok(sendable)
    }

    /// The best options with their polls, each of which belongs on the board now.
    async fn ranking(self: &Arc<Self>, limit: usize) -> Result<Ranking, StoreError> {
        self.is_looked_at.store(true, Ordering::Relaxed);
        self.bring_up_to_date().await?;
        let (mut sorts, mut left, mut is_filled) = (0, 0, false);
        loop {
            let (version, leaders) = self.standings().top(limit);
            let Found { places, misplaced, fresh } = self.find(leaders).await?;
            let must_fill = {
                let mut standings = self.standings();
                fresh.iter().for_each(|view| standings.update(&view.snapshot().tally));
                misplaced.iter().for_each(|&poll| standings.remove(poll));
                sorts += 1;
                if misplaced.is_empty() && (standings.version() == version || sorts >= SORTS_MAX) {
                    return Ok(Ranking { version, places });
                }
                left += misplaced.len();
                // Once: where the store goes by another clock, it may find the same again.
                if !is_filled && left > LEAVING_MAX {
                    standings.spoil();
                }
                !is_filled && !standings.is_current()
            };
            if must_fill {
                is_filled = true;
                self.bring_up_to_date().await?;
            }
        }
    }

    /// Looks at the polls of these options. When one cannot be read in time, the store is in trouble and is not asked for the others that
    /// are known.
    async fn find(&self, leaders: Vec<Leader>) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let mut is_in_trouble = false;
        for leader in leaders {
            let known = if is_in_trouble { self.views.known(leader.poll) } else { None };
            let view = match known {
                Some(view) => Ok(Some(view)),
                None => self.views.poll(leader.poll).await,
            };
            match view {
                Ok(Some(view)) if self.belongs(&view) => {
                    is_in_trouble |= self.views.stale_for(leader.poll).is_some();
                    if !is_in_trouble {
                        found.fresh.push(Arc::clone(&view));
                    }
                    found.places.push((leader, view));
                }
                // It may have closed since it was looked at, by its plan or because the news was lost.
                Ok(_) => found.misplaced.push(leader.poll),
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    left_out(leader.poll, &error);
                    found.misplaced.push(leader.poll);
                }
            }
        }
        Ok(found)
    }

    fn belongs(&self, view: &PollView) -> bool {
        let poll = &view.snapshot().poll;
        poll.results == ResultsVisibility::Always && poll.state_shown(self.clock.now()) == PollState::Open
    }

    async fn bring_up_to_date(self: &Arc<Self>) -> Result<(), StoreError> {
        if self.standings().is_current() {
            return Ok(());
        }
        let board = Arc::clone(self);
        self.rounds.join(async move { board.work_in().await }).await
    }

    async fn work_in(&self) -> Result<(), StoreError> {
        self.fill_if_spoilt().await?;
        let mut reads = 0;
        // What comes from now on waits for the next look: a flood must not keep this one busy for ever.
        let waiting = self.standings().settle();
        for (poll, number) in waiting {
            if self.views.cached(poll).is_none() {
                if reads == READS_MAX {
                    continue;
                }
                reads += 1;
            }
            if self.look_at(poll, number).await.is_break() {
                break;
            }
        }
        self.standings().spoil_if_thin();
        self.fill_if_spoilt().await
    }

    /// Looks at a poll with news. Breaks when the store is in trouble, so that not every poll is waited for.
    async fn look_at(&self, poll: PollId, number: u64) -> ControlFlow<()> {
        let view = match self.views.poll(poll).await {
            Ok(view) => view,
            Err(error) if error.is_retryable() => return ControlFlow::Break(()),
            Err(error) => {
                left_out(poll, &error);
                None
            }
        };
        let is_fresh = self.views.stale_for(poll).is_none();
        let view = view.filter(|view| self.belongs(view));
        self.standings().look(poll, number, view.as_ref().map(|view| &view.snapshot().tally), is_fresh);
        if is_fresh { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    async fn fill_if_spoilt(&self) -> Result<(), StoreError> {
        if !self.standings().is_spoilt() {
            return Ok(());
        }
        let _filling = self.filling.lock().await;
        if !self.standings().is_spoilt() {
            return Ok(());
        }
        match self.fill().await {
            Err(error) if error.is_retryable() && self.standings().is_known() => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the leaderboard is shown as it was last");
                Ok(())
            }
            filled => filled,
        }
    }

    /// Fills the board from the store. For whoever holds `filling`.
    async fn fill(&self) -> Result<(), StoreError> {
        let scan = Scan::begin(&self.standings);
        let leaders = self.tallies.leaders(BOARD_OPTIONS_MAX, self.clock.now()).await?;
        let mut shown: Vec<PollId> = leaders.iter().take(2 * PLACES_WATCHED).map(|leader| leader.poll).collect();
        shown.sort_unstable();
        shown.dedup();
        let tallies = self.tallies.tallies(&shown).await?;
        self.standings().fill(scan.begun, &leaders, &tallies);
        Ok(())
    }

    fn standings(&self) -> MutexGuard<'_, Standings> {
        lock(&self.standings)
    }
}

/// Others are shown without it, because somebody has to mend what the store holds.
fn left_out(poll: PollId, error: &StoreError) {
    tracing::warn!(%poll, error = error as &dyn std::error::Error, "a poll is left out of the leaderboard");
}
