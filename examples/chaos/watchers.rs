//! Watchers: some stay with one server and come back to it, some wander from server to server and say what they have seen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;
use voting::client::Target;
use voting::follow::{Followed, follow};
use voting::history::{Counted, Recorder, What};

/// How long a watcher who wanders stays: from hardly at all to long enough for a server to be lost meanwhile.
const STAYS_MS: std::ops::Range<u64> = 200..4000;
/// Before a server that did not answer is left for the next one.
const MOVES_ON: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Frame {
    poll_id: Uuid,
    epoch: u64,
    version: u64,
    voters: u64,
    options: Vec<FrameOption>,
}

#[derive(Deserialize)]
struct FrameOption {
    votes: u64,
}

/// Notes a frame of results; answers its version. Other frames are none of ours.
fn note(recorder: &Recorder, watcher: usize, text: &str) -> Option<(u64, u64)> {
    let frame: Frame = serde_json::from_str(text).ok()?;
    let totals = Counted { voters: frame.voters, votes: frame.options.iter().map(|option| option.votes).collect() };
    let Frame { poll_id: poll, epoch, version, .. } = frame;
    recorder.note(What::Shown { watcher, poll, epoch, version, totals });
    Some((epoch, version))
}

/// Begins to watch, with so many at each server who watch all polls; ends when the answer is dropped. How many watch comes with it.
pub(crate) fn watch(
    recorder: &Arc<Recorder>,
    (servers, faithful): (&[Target], usize),
    polls: &[Uuid],
    seed: u64,
) -> (JoinSet<()>, usize) {
    let mut watching = JoinSet::new();
    let mut number = 0;
    let mut begin = |polls: &[Uuid]| {
        recorder.note(What::Watching { watcher: number, polls: polls.to_vec() });
        number += 1;
        number - 1
    };
    let subscription = serde_json::json!({ "subscribe": polls }).to_string();
    for server in servers {
        for _ in 0..faithful {
            let (recorder, watcher) = (Arc::clone(recorder), begin(polls));
            let (url, subscription) = (server.socket_url("/live"), subscription.clone());
            watching.spawn(async move {
                let take = |followed: Followed<'_>| {
                    if let Followed::Frame(text) = followed {
                        note(&recorder, watcher, text);
                    }
                };
                follow(&url, &subscription, take).await;
            });
        }
    }
    for &poll in polls {
        watching.spawn(wander(Arc::clone(recorder), begin(&[poll]), servers.to_vec(), poll, seed));
    }
    (watching, number)
}

async fn wander(recorder: Arc<Recorder>, watcher: usize, servers: Vec<Target>, poll: Uuid, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed ^ watcher as u64);
    let mut seen = None;
    for server in servers.iter().cycle() {
        let after = seen.map(|(epoch, version)| format!("?after={epoch}.{version}")).unwrap_or_default();
        let url = server.socket_url(&format!("/polls/{poll}/live{after}"));
        let until = Instant::now() + Duration::from_millis(random.random_range(STAYS_MS));
        // Boxed, because the future of a handshake is large.
        let Ok(Ok((mut socket, _))) = timeout_at(until, Box::pin(tokio_tungstenite::connect_async(url))).await else {
            tokio::time::sleep(MOVES_ON).await;
            continue;
        };
        while let Ok(Some(Ok(message))) = timeout_at(until, socket.next()).await {
            if let Message::Text(text) = message {
                seen = note(&recorder, watcher, &text).or(seen);
            }
        }
    }
}
