//! Watchers: sockets on which all polls are followed, opened again when they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use uuid::Uuid;
use voting::follow::{Followed, follow};

#[derive(Debug, Deserialize)]
struct Frame {
    poll_id: Uuid,
    epoch: u64,
    version: u64,
    voters: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// The newest of each poll.
    polls: HashMap<Uuid, Frame>,
    /// When the results grew, ascending.
    grew: Vec<Instant>,
    frames: u64,
    went_back: u64,
    opened: u64,
}

impl Seen {
    fn take(&mut self, frame: Frame) {
        self.frames += 1;
        let before = self.polls.get(&frame.poll_id);
        if before.is_some_and(|before| (frame.epoch, frame.version) <= (before.epoch, before.version)) {
            // A new socket begins with a snapshot, which may be the one that was seen last; anything older is going back.
            let is_older = before.is_some_and(|before| (frame.epoch, frame.version) < (before.epoch, before.version));
            self.went_back += u64::from(is_older);
            return;
        }
        if before.is_none_or(|before| frame.voters > before.voters) {
            self.grew.push(Instant::now());
        }
        self.polls.insert(frame.poll_id, frame);
    }

    fn voters(&self) -> u64 {
        self.polls.values().map(|frame| frame.voters).sum()
    }
}

/// All watchers.
pub(crate) struct Watchers {
    seen: Vec<Arc<Mutex<Seen>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What all of them saw.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Watched {
    pub(crate) watchers: usize,
    pub(crate) frames: u64,
    /// Frames older than one that the same watcher had seen.
    pub(crate) went_back: u64,
    /// How often a socket ended and was opened again.
    pub(crate) reopened: u64,
    /// Watchers whose last frames show all voters.
    pub(crate) complete: usize,
}

impl Watchers {
    /// Opens a socket at each of the URLs, now and whenever it ends.
    pub(crate) fn open(urls: impl Iterator<Item = String>, polls: &[Uuid]) -> Self {
        let subscription = serde_json::json!({ "subscribe": polls }).to_string();
        let mut watchers = Self { seen: Vec::new(), tasks: Vec::new() };
        for url in urls {
            let seen: Arc<Mutex<Seen>> = Arc::default();
            watchers.tasks.push(tokio::spawn(watch(url, subscription.clone(), Arc::clone(&seen))));
            watchers.seen.push(seen);
        }
        watchers
    }

    /// The voters that the watcher was shown who is behind the others; the most there can be when nobody watches.
    pub(crate) fn voters(&self) -> u64 {
        self.seen.iter().map(|seen| locked(seen).voters()).min().unwrap_or(u64::MAX)
    }

    /// The longest time between the two moments in which the results of a watcher did not grow.
    pub(crate) fn longest_gap(&self, from: Instant, until: Instant) -> Duration {
        self.seen.iter().map(|seen| longest_gap(&locked(seen).grew, from, until)).max().unwrap_or_default()
    }

    pub(crate) fn watched(&self, voters: u64) -> Watched {
        let mut watched = Watched { watchers: self.seen.len(), ..Watched::default() };
        for seen in &self.seen {
            let seen = locked(seen);
            watched.frames += seen.frames;
            watched.went_back += seen.went_back;
            watched.reopened += seen.opened.saturating_sub(1);
            watched.complete += usize::from(seen.voters() == voters);
        }
        watched
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn longest_gap(grew: &[Instant], from: Instant, until: Instant) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for at in grew.iter().copied().filter(|at| (from..until).contains(at)).chain([until]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

async fn watch(url: String, subscription: String, seen: Arc<Mutex<Seen>>) {
    let take = |followed: Followed<'_>| match followed {
        Followed::Opened => locked(&seen).opened += 1,
        Followed::Frame(text) => {
            if let Ok(frame) = serde_json::from_str(text) {
                locked(&seen).take(frame);
            }
        }
    };
    follow(&url, &subscription, take).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_frame_goes_back_and_the_same_again_does_not() {
        let frame = |version, voters| Frame { poll_id: Uuid::nil(), epoch: 1, version, voters };
        let mut seen = Seen::default();
        seen.take(frame(2, 5));
        seen.take(frame(2, 5));
        assert_eq!((seen.went_back, seen.voters()), (0, 5));
        seen.take(frame(1, 3));
        assert_eq!((seen.went_back, seen.voters(), seen.grew.len()), (1, 5, 1));
    }
}
