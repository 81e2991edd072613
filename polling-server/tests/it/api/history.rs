//! How the results of a poll came about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polling_core::checkpoint::{Batch, Checkpoint};
use polling_core::clock::{Clock, Timestamp};
use polling_core::model::{History, PollId, Receipt, Resolution, Steps, Tally, VoterKey};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, CountedVote, Leader, StoreError, TallyStore};
use serde_json::{Value, json};

use super::support::{Answered, Created, Server, Setup};

async fn history(server: &Server, poll: &Created, query: &str) -> Answered {
    server.get(&poll.path(&format!("/history{query}"))).send().await
}

/// For each point, when it is, the voters, and the votes of each option.
fn points(body: &Value) -> Vec<(String, u64, Vec<u64>)> {
    let point = |point: &Value| {
        let options = point["options"].as_array().expect("options");
        for (option, id) in options.iter().zip(1..) {
            assert_eq!(option["id"], id);
        }
        let votes = options.iter().map(|option| option["votes"].as_u64().expect("a number")).collect();
        (point["at"].as_str().expect("a time").to_owned(), point["voters"].as_u64().expect("a number"), votes)
    };
    body["points"].as_array().expect("a list").iter().map(point).collect()
}

fn at(time: &str, voters: u64, votes: &[u64]) -> (String, u64, Vec<u64>) {
    (format!("2030-01-01T{time}Z"), voters, votes.to_vec())
}

/// A poll that opens now. The time of its creation would be that of the newest poll of the whole process, and not of this server.
async fn opened(server: &Server, mut fields: Value) -> Created {
    let opening = "2030-01-01T12:00:00Z";
    fields["opens_at"] = json!(opening);
    let poll = server.create(fields).await;
    server.clock.advance(Timestamp::parse(opening).expect("a time").saturating_since(server.clock.now()));
    poll
}

#[tokio::test]
async fn a_history_has_the_totals_at_the_end_of_each_step_and_ends_with_the_tally() {
    let server = Server::start();
    let poll = opened(&server, json!({ "allow_change": true })).await;
    let first = history(&server, &poll, "?step=60").await.expect(200);
    assert_eq!((&first["poll_id"], &first["step"]), (&json!(poll.id), &json!(60)));
    assert_eq!(points(&first), [at("12:01:00", 0, &[0, 0, 0])]);
    server.vote(&poll, "ann", 1).await.expect(202);
    server.vote(&poll, "bob", 1).await.expect(202);
    server.advance(130);
    server.vote(&poll, "bob", 3).await.expect(202);
    server.advance(60);
    let expected = [
        at("12:01:00", 1, &[1, 0, 0]),
        at("12:02:00", 1, &[1, 0, 0]),
        at("12:03:00", 2, &[1, 0, 1]),
        at("12:04:00", 2, &[1, 0, 1]),
    ];
    assert_eq!(points(&history(&server, &poll, "?step=60").await.expect(200)), expected);
    assert_eq!(points(&history(&server, &poll, "?step=3600").await.expect(200)), [at("13:00:00", 2, &[1, 0, 1])]);
    let by_default = history(&server, &poll, "").await.expect(200);
    assert_eq!((&by_default["step"], points(&by_default).len()), (&json!(1), 191));
    assert_eq!(points(&by_default).last().expect("a point").2, server.votes(&poll).await);
    server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner).send().await.expect(200);
    server.advance(9999);
    assert_eq!(points(&history(&server, &poll, "?step=60").await.expect(200)), expected, "nothing comes after the close");
}

#[tokio::test]
async fn a_step_that_is_none_or_makes_too_many_points_is_refused_by_name() {
    let server = Server::start();
    let poll = opened(&server, json!({})).await;
    for step in ["0", "-1", "1.5", "x", "", "+1", "31536001", "99999999999999999999"] {
        assert_eq!(history(&server, &poll, &format!("?step={step}")).await.expect_errors(), ["step"], "{step}");
    }
    server.advance(999);
    assert_eq!(points(&history(&server, &poll, "?step=1").await.expect(200)).len(), 1000);
    server.advance(1);
    let refused = history(&server, &poll, "?step=1").await;
    assert_eq!(refused.expect_errors(), ["step"]);
    assert!(refused.json()["errors"][0]["detail"].as_str().expect("a text").contains("1001 points"));
    let body = history(&server, &poll, "").await.expect(200);
    assert_eq!((&body["step"], points(&body).len()), (&json!(10), 101));
    assert_eq!(history(&server, &poll, "?step=0&receipt=x").await.expect_errors(), ["receipt", "step"]);
}

#[tokio::test]
async fn a_history_is_shown_to_whom_the_results_are() {
    let server = Server::start();
    let poll = opened(&server, json!({ "results": "after_vote" })).await;
    history(&server, &poll, "").await.expect_problem(403, "results-hidden");
    history(&server, &poll, "?step=0").await.expect_errors();
    let vote = server.post(&poll.path("/vote"), &json!({ "choices": [2] })).send().await;
    let receipt = vote.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    let shown = history(&server, &poll, &format!("?receipt={receipt}")).await;
    assert_eq!(points(&shown.expect(200)), [at("12:00:01", 1, &[0, 1, 0])]);
    assert_eq!((shown.header("cache-control"), shown.header("vary")), ("private, no-cache", "authorization, cookie"));
    server.get(&poll.path("/history")).bearer(&poll.owner).send().await.expect(200);
    history(&server, &poll, "").await.expect_problem(403, "results-hidden");
    server.delete(&poll.path("")).bearer(&poll.owner).send().await;
    history(&server, &poll, "").await.expect_problem(404, "poll-not-found");
    for id in ["x", "00000000-0000-0000-0000-000000000000"] {
        server.get(&format!("/polls/{id}/history?step=0")).send().await.expect_problem(404, "poll-not-found");
    }
}

#[tokio::test]
async fn a_history_has_a_tag_that_changes_with_it() {
    let server = Server::start();
    let poll = opened(&server, json!({})).await;
    let first = history(&server, &poll, "").await;
    first.expect(200);
    assert_eq!((first.header("cache-control"), first.header("vary")), ("no-cache", ""));
    let tag = first.header("etag").to_owned();
    let again = async |tag: &str| server.get(&poll.path("/history")).header("if-none-match", tag).send().await;
    assert_eq!((again(&tag).await.status.as_u16(), again(&tag).await.header("etag")), (304, tag.as_str()));
    server.vote(&poll, "ann", 1).await.expect(202);
    let counted = again(&tag).await;
    counted.expect(200);
    server.advance(1);
    let later = again(counted.header("etag")).await;
    later.expect(200);
    assert_eq!(points(&later.json()), [at("12:00:01", 1, &[1, 0, 0]), at("12:00:02", 1, &[1, 0, 0])]);
}

/// Counts how often a history is read, and takes its time for it.
struct Slow {
    inner: Arc<MemoryStore>,
    reads: AtomicUsize,
    fails: AtomicBool,
    takes: Duration,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TallyStore for Slow {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.inner.apply(batch).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.inner.checkpoint().await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.inner.tallies(polls).await
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        self.inner.leaders(limit, now).await
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        self.inner.outcome(receipt).await
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        self.inner.standing(poll, voter).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it fails on purpose".into()));
        }
        self.inner.history(poll, steps).await
    }
}

fn slow(takes: Duration) -> (Server, Arc<Slow>) {
    let store = Arc::new(MemoryStore::new(7));
    let slow = Arc::new(Slow { inner: Arc::clone(&store), reads: AtomicUsize::new(0), fails: AtomicBool::new(false), takes });
    let deadline = Duration::from_secs(1);
    (Server::start_with(Setup { tallies: Some(slow.clone()), store, deadline, ..Setup::default() }), slow)
}

#[tokio::test(start_paused = true)]
async fn a_history_is_read_once_for_all_who_ask_and_again_when_there_are_votes() {
    let (server, slow) = slow(Duration::from_millis(50));
    let poll = opened(&server, json!({})).await;
    let together = futures_util::future::join_all((0..20).map(|_| history(&server, &poll, "?step=60"))).await;
    together.iter().for_each(|answer| assert_eq!(points(&answer.expect(200)).len(), 1));
    server.advance(60);
    assert_eq!(points(&history(&server, &poll, "?step=60").await.expect(200)).len(), 2);
    assert_eq!(slow.reads.load(Ordering::SeqCst), 1, "no vote has come");
    server.vote(&poll, "ann", 1).await.expect(202);
    assert_eq!(points(&history(&server, &poll, "?step=60").await.expect(200))[1].1, 1);
    assert_eq!(slow.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn other_steps_do_not_have_a_large_poll_read_again_at_once() {
    let (server, slow) = slow(Duration::from_millis(150));
    let poll = opened(&server, json!({})).await;
    history(&server, &poll, "?step=60").await.expect(200);
    for step in [61, 62, 63] {
        let refused = history(&server, &poll, &format!("?step={step}")).await;
        refused.expect_problem(503, "unavailable");
        let seconds: u64 = refused.header("retry-after").parse().expect("whole seconds");
        assert!((1..=2).contains(&seconds), "{seconds}");
    }
    history(&server, &poll, "?step=60").await.expect(200);
    assert_eq!(slow.reads.load(Ordering::SeqCst), 1);
    history(&server, &poll, "").await.expect(200);
    assert_eq!(slow.reads.load(Ordering::SeqCst), 2, "whoever leaves the steps to the server does not wait for others");
    let other = opened(&server, json!({})).await;
    history(&server, &other, "?step=60").await.expect(200);
}

#[tokio::test]
async fn a_reading_that_took_long_and_failed_is_not_tried_again_at_once() {
    let (server, slow) = slow(Duration::from_millis(150));
    let poll = opened(&server, json!({})).await;
    slow.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        history(&server, &poll, "").await.expect_problem(503, "unavailable");
    }
    assert_eq!(slow.reads.load(Ordering::SeqCst), 1);
    slow.fails.store(false, Ordering::SeqCst);
    let recovered = async { while history(&server, &poll, "").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(20), recovered).await.expect("the rest is over");
}

#[tokio::test]
async fn whoever_gives_up_waiting_has_not_asked_in_vain() {
    let (server, slow) = slow(Duration::from_millis(1500));
    let poll = opened(&server, json!({})).await;
    let given_up = history(&server, &poll, "?step=60").await;
    given_up.expect_problem(503, "unavailable");
    assert!(!given_up.header("retry-after").is_empty());
    history(&server, &poll, "?step=60").await.expect(200);
    // It took so long that it is not read again at once.
    server.vote(&poll, "ann", 1).await.expect(202);
    assert_eq!(points(&history(&server, &poll, "?step=60").await.expect(200))[0].1, 0);
    assert_eq!(slow.reads.load(Ordering::SeqCst), 1);
}
