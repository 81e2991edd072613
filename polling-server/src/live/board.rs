//! The leaderboard as it is shown.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polling_core::bus::Update;
use polling_core::clock::Clock;
use polling_core::leaderboard::{BOARD_OPTIONS_MAX, Leaderboard};
use polling_core::model::{PollId, PollState, ResultsVisibility};
use polling_core::store::{StoreError, TallyStore};

use super::views::{Sendable, Views};
use crate::api::types::{LeaderboardBody, LeaderboardEntry};

/// Polls that may wait to be looked at before the board is rather filled anew from the store.
const WAITING_POLLS_MAX: usize = 10_000;

/// Keeps the leaderboard over the open polls whose results everybody may see.
///
/// News is noted at once and worked in when somebody looks, so that a busy store pays a comparison for each tally.
pub struct Board {
    tallies: Arc<dyn TallyStore>,
    views: Arc<Views>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by whoever works the news in: the others wait for it and then see them.
    working: tokio::sync::Mutex<()>,
    /// Tells the versions of this process from those of another, in entity tags.
    process: u64,
}

struct State {
    board: Leaderboard,
    /// Polls with news that may matter.
    waiting: BTreeSet<PollId>,
    /// Whether the board must be filled from the store. While it is being filled, any poll may matter.
    unfilled: bool,
}

impl Board {
    /// A board that fills itself when somebody looks at it.
    #[must_use]
    pub fn new(tallies: Arc<dyn TallyStore>, views: Arc<Views>, clock: Arc<dyn Clock>) -> Self {
        let state = State { board: Leaderboard::new(), waiting: BTreeSet::new(), unfilled: true };
        let process = clock.now().as_micros().unsigned_abs();
        Self { tallies, views, clock, state: Mutex::new(state), working: tokio::sync::Mutex::new(()), process }
    }

    /// Notes news; answers whether any of it may matter. Call it after [`Views::absorb`].
    pub fn absorb(&self, updates: &[Update]) -> bool {
        let mut state = self.state();
        let mut matters = false;
        for update in updates {
            let poll = match update {
                Update::Tally(tally) if state.unfilled || state.board.concerns(tally) => tally.poll,
                Update::Changed(poll) => *poll,
                Update::Tally(_) | Update::Progress { .. } => continue,
            };
            matters = true;
            state.waiting.insert(poll);
        }
        if state.waiting.len() > WAITING_POLLS_MAX {
            state.waiting.clear();
            state.unfilled = true;
        }
        matters
    }

    /// Has the board filled anew: news was lost.
    pub fn forget_all(&self) {
        self.state().unfilled = true;
    }

    /// The best options, at most `limit`, with everything worked in that was noted before the call.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn top(&self, limit: usize) -> Result<LeaderboardBody, StoreError> {
        let _working = self.working.lock().await;
        self.work_in().await?;
        let (version, leaders) = {
            let state = self.state();
            (state.board.version(), state.board.top(limit))
        };
        let mut entries = Vec::with_capacity(leaders.len());
        for leader in &leaders {
            if let Some(view) = self.views.poll(leader.poll).await? {
                let rank = u32::try_from(entries.len() + 1).unwrap_or(u32::MAX);
                entries.extend(LeaderboardEntry::new(rank, leader, view.snapshot()));
            }
        }
        Ok(LeaderboardBody { version, entries })
    }

    /// The body of `GET /leaderboard`.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn sendable(&self, limit: usize) -> Result<Sendable, StoreError> {
        let body = self.top(limit).await?;
        let etag = format!("\"{:x}.{}.{limit}\"", self.process, body.version);
        Ok(Sendable { body: serde_json::to_vec(&body).unwrap_or_default().into(), etag })
    }

    async fn work_in(&self) -> Result<(), StoreError> {
        self.fill_if_needed().await?;
        loop {
            let Some(poll) = self.state().waiting.pop_first() else { break };
            let view = match self.views.poll(poll).await {
                Ok(view) => view,
                Err(error) => {
                    self.state().waiting.insert(poll);
                    return Err(error);
                }
            };
            let shown = view.filter(|view| {
                let poll = &view.snapshot().poll;
                poll.results == ResultsVisibility::Always && poll.state(self.clock.now()) == PollState::Open
            });
            match shown {
                Some(view) => self.state().board.update(&view.snapshot().tally),
                None => self.state().board.remove_poll(poll),
            }
        }
        {
            let mut state = self.state();
            state.unfilled |= state.board.is_thin();
        }
        self.fill_if_needed().await
    }

    /// Fills the board from the store. News that comes meanwhile waits, whatever it is, and is worked in afterwards.
    async fn fill_if_needed(&self) -> Result<(), StoreError> {
        if self.state().unfilled {
            let leaders = self.tallies.leaders(BOARD_OPTIONS_MAX, self.clock.now()).await?;
            let mut state = self.state();
            state.board.fill(&leaders, leaders.len() < BOARD_OPTIONS_MAX);
            state.unfilled = false;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
