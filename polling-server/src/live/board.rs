//! The leaderboard as it is shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polling_core::bus::Update;
use polling_core::clock::Clock;
use polling_core::leaderboard::{BOARD_OPTIONS_MAX, Leaderboard};
use polling_core::model::{PollId, PollState, ResultsVisibility};
use polling_core::store::{Leader, StoreError, TallyStore};

use super::views::{PollView, Sendable, Views};
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// Polls that may wait to be looked at before the board is rather filled anew from the store.
const WAITING_POLLS_MAX: usize = 10_000;

/// Keeps the leaderboard over the open polls whose results everybody may see.
///
/// News is noted at once and worked in when somebody looks, so that a busy store pays a comparison for each tally. A look that is
/// dropped half way leaves what it has not finished to the next.
pub struct Board {
    tallies: Arc<dyn TallyStore>,
    views: Arc<Views>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by whoever works the news in: the others wait for it and then see them.
    working: tokio::sync::Mutex<Rendered>,
    /// Tells the versions of this process from those of another, in entity tags.
    process: u64,
}

/// For each limit, the body that was rendered last, and of which version: as many as there are limits, some hundred.
type Rendered = HashMap<usize, (u64, Sendable)>;

struct State {
    board: Leaderboard,
    /// Polls with news that may matter, each with the number of its latest news: what comes while a poll is being looked at keeps
    /// it waiting.
    waiting: BTreeMap<PollId, u64>,
    /// Counts news.
    noted: u64,
    /// Whether the board must be filled from the store, since which news. While it is being filled, any poll may matter.
    unfilled: Option<u64>,
}

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

impl State {
    fn note(&mut self, poll: PollId) {
        self.noted += 1;
        self.waiting.insert(poll, self.noted);
    }

    fn spoil(&mut self) {
        self.noted += 1;
        self.unfilled = Some(self.noted);
    }
}

impl Board {
    /// A board that fills itself when somebody looks at it.
    #[must_use]
    pub fn new(tallies: Arc<dyn TallyStore>, views: Arc<Views>, clock: Arc<dyn Clock>) -> Self {
        let state = State { board: Leaderboard::new(), waiting: BTreeMap::new(), noted: 0, unfilled: Some(0) };
        let process = clock.now().as_micros().unsigned_abs();
        Self { tallies, views, clock, state: Mutex::new(state), working: tokio::sync::Mutex::default(), process }
    }

    /// Tells the versions of this process from those of another.
    #[must_use]
    pub const fn process(&self) -> u64 {
        self.process
    }

    /// Notes news; answers whether any of it may matter. Call it after [`Views::absorb`].
    pub fn absorb(&self, updates: &[Update]) -> bool {
        let mut state = self.state();
        let mut matters = false;
        for update in updates {
            let poll = match update {
                Update::Tally(tally) if state.unfilled.is_some() || state.board.concerns(tally) => tally.poll,
                Update::Changed(poll) => *poll,
                Update::Tally(_) | Update::Progress { .. } | Update::Audience(_) => continue,
            };
            matters = true;
            state.note(poll);
        }
        if state.waiting.len() > WAITING_POLLS_MAX {
            state.waiting.clear();
            state.spoil();
        }
        matters
    }

    /// Has the board filled anew: news was lost.
    pub fn forget_all(&self) {
        self.state().spoil();
    }

    /// The best options, at most `limit`, with everything worked in that was noted before the call.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn top(&self, limit: usize) -> Result<LeaderboardBody, StoreError> {
        let _working = self.working.lock().await;
        Ok(self.ranking(limit).await?.body())
    }

    /// The body of `GET /leaderboard`, rendered once for each version and limit.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn sendable(&self, limit: usize) -> Result<Sendable, StoreError> {
        let mut rendered = self.working.lock().await;
        let ranking = self.ranking(limit).await?;
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

    /// The best options with their polls, each of which belongs on the board now. For whoever holds `working`.
    async fn ranking(&self, limit: usize) -> Result<Ranking, StoreError> {
        self.work_in().await?;
        loop {
            let (version, leaders) = {
                let mut state = self.state();
                (state.board.version(), state.board.top(limit))
            };
            let mut places = Vec::with_capacity(leaders.len());
            let mut misplaced = None;
            for leader in leaders {
                match self.shown(leader.poll).await? {
                    Some(view) => places.push((leader, view)),
                    None => misplaced = Some(leader.poll),
                }
            }
            // A poll may have closed since it was looked at, by its plan or because the news was lost.
            match misplaced {
                Some(poll) => self.state().board.remove_poll(poll),
                None => return Ok(Ranking { version, places }),
            }
        }
    }

    /// The poll, if it belongs on the board now.
    async fn shown(&self, poll: PollId) -> Result<Option<Arc<PollView>>, StoreError> {
        Ok(self.views.poll(poll).await?.filter(|view| {
            let poll = &view.snapshot().poll;
            poll.results == ResultsVisibility::Always && poll.state_shown(self.clock.now()) == PollState::Open
        }))
    }

    async fn work_in(&self) -> Result<(), StoreError> {
        self.fill_if_needed().await?;
        // What comes from now on waits for the next look: a flood must not keep this one busy for ever.
        let waiting: Vec<(PollId, u64)> = self.state().waiting.iter().map(|(&poll, &noted)| (poll, noted)).collect();
        for (poll, noted) in waiting {
            let view = self.shown(poll).await?;
            let mut state = self.state();
            match view {
                Some(view) => state.board.update(&view.snapshot().tally),
                None => state.board.remove_poll(poll),
            }
            if state.waiting.get(&poll) == Some(&noted) {
                state.waiting.remove(&poll);
            }
        }
        {
            let mut state = self.state();
            if state.board.is_thin() {
                state.spoil();
            }
        }
        self.fill_if_needed().await
    }

    /// Fills the board from the store. News that comes meanwhile waits, whatever it is, and is worked in afterwards.
    async fn fill_if_needed(&self) -> Result<(), StoreError> {
        let Some(since) = self.state().unfilled else { return Ok(()) };
        let leaders = self.tallies.leaders(BOARD_OPTIONS_MAX, self.clock.now()).await?;
        let mut state = self.state();
        state.board.fill(&leaders, leaders.len() < BOARD_OPTIONS_MAX);
        if state.unfilled == Some(since) {
            state.unfilled = None;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
