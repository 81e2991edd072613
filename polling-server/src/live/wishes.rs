//! What the client of one socket has asked to watch and is not shown yet.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use polling_core::model::PollId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamMap;

use super::frame::BoardFrame;
use super::session::POLLS_MAX;
use super::viewer::{Viewer, WatchedPoll};
use crate::api::problem::Problem;
use crate::api::problem_kind::ProblemKind;

/// What may wait for the store, for one socket: what its client wants, and as much again that it did want a moment ago.
const WAITING_MAX: usize = 2 * POLLS_MAX;

/// What a client wants to watch: a poll; `None`: the leaderboard.
pub type Wish = Option<PollId>;

/// How a wish ended.
pub struct Answer {
    /// In which message of the client it was said.
    pub message: u64,
    /// What it was.
    pub wish: Wish,
    /// Whether it can be watched.
    pub granted: Result<Granted, Problem>,
}

/// What can be watched from now on.
pub enum Granted {
    /// A poll.
    Poll(PollId, WatchedPoll),
    /// The leaderboard: the newest frame, and what comes.
    Leaderboard(BoardFrame, watch::Receiver<Option<BoardFrame>>),
}

type Granting = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// Wishes that wait for the store side by side: what is slow to be read keeps nothing else waiting.
pub struct Wishes {
    viewer: Arc<Viewer>,
    waiting: StreamMap<Wish, Granting>,
    /// Those of them that the client does not want any more. They wait to their end, as what was begun for them goes on: a client that
    /// changes its mind all the time must not have more and more begun.
    taken_back: HashSet<Wish>,
}

impl Wishes {
    /// None yet, of this viewer.
    #[must_use]
    pub fn new(viewer: Viewer) -> Self {
        Self { viewer: Arc::new(viewer), waiting: StreamMap::new(), taken_back: HashSet::new() }
    }

    /// Makes a wish, unless it is made already; answers it at once when nothing has to be waited for.
    pub fn make(&mut self, message: u64, wish: Wish) -> Option<Answer> {
        if self.waiting.contains_key(&wish) {
            self.taken_back.remove(&wish);
            return None;
        }
        if self.waiting.len() >= WAITING_MAX {
            return Some(Answer { message, wish, granted: Err(Problem::new(ProblemKind::Unavailable)) });
        }
        let mut granting = granting(Arc::clone(&self.viewer), message, wish);
        let answer = granting.next().now_or_never().flatten();
        if answer.is_none() {
            self.waiting.insert(wish, granting);
        }
        answer
    }

    /// Takes a wish back, if it is made.
    pub fn take_back(&mut self, wish: Wish) {
        if self.waiting.contains_key(&wish) {
            self.taken_back.insert(wish);
        }
    }

    /// Whether this is wanted and waited for.
    #[must_use]
    pub fn has(&self, wish: Wish) -> bool {
        self.waiting.contains_key(&wish) && !self.taken_back.contains(&wish)
    }

    /// How many polls are wanted and waited for.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.waiting.keys().filter(|wish| wish.is_some() && !self.taken_back.contains(wish)).count()
    }

    /// Whether nothing is waited for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next answer; `None` when nothing is waited for.
    ///
    /// # Cancellation
    ///
    /// No answer is lost.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            let (wish, answer) = self.waiting.next().await?;
            self.waiting.remove(&wish);
            if !self.taken_back.remove(&wish) {
                return Some(answer);
            }
        }
    }
}

/// Waits for all that the store has to say to it, together as long as a request may wait.
fn granting(viewer: Arc<Viewer>, message: u64, wish: Wish) -> Granting {
    let until = Instant::now() + viewer.deadline();
    Box::pin(stream::once(async move {
        let watching = async {
            Ok(match wish {
                Some(poll) => Granted::Poll(poll, viewer.watch_poll(poll).await?),
                None => {
                    let (first, frames) = viewer.watch_leaderboard().await?;
                    Granted::Leaderboard(first, frames)
                }
            })
        };
        let granted = timeout_at(until, watching).await.unwrap_or_else(|_| Err(Problem::new(ProblemKind::Unavailable)));
        Answer { message, wish, granted }
    }))
}
