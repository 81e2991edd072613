//! Casting many votes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polling_core::checkpoint::{Batch, Checkpoint};
use polling_core::clock::Timestamp;
use polling_core::model::{History, PollId, Receipt, Resolution, Steps, Tally, VoterKey};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, CountedVote, Leader, StoreError, TallyStore};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Answered, Created, Server, Setup};

async fn send(server: &Server, poll: &Created, votes: Value) -> Answered {
    server.post(&poll.path("/votes"), &json!({ "votes": votes })).send().await
}

#[tokio::test]
async fn each_vote_of_a_batch_is_answered_as_if_it_had_come_alone() {
    let server = Server::start();
    let poll = server.create(json!({ "max_choices": 2 })).await;
    server.vote(&poll, "early", 1).await.expect(202);
    let id = Uuid::new_v4();
    let votes = json!([
        { "choices": [1, 2], "voter_id": "ann", "vote_id": id },
        { "choices": [4], "voter_id": "bob" },
        { "choices": [3], "voter_id": "early" },
        { "choices": [1, 2], "voter_id": "ann", "vote_id": id },
        { "choices": [3], "voter_id": "cy" },
        { "choices": [3], "voter_id": "cy" },
        { "choices": [1] },
        { "choices": "1", "voter_id": null, "x": 1 },
        7,
    ]);
    let results = send(&server, &poll, votes).await.expect(202)["results"].clone();
    let status = |index: usize| results[index]["status"].as_str().unwrap_or_default().to_owned();
    let statuses: Vec<String> = (0..9).map(status).collect();
    let (yes, no) = ("counted", "refused");
    assert_eq!(statuses, [yes, no, no, yes, yes, no, no, no, no]);
    assert_eq!(results[0]["vote_id"], id.to_string());
    assert_eq!(server.receipt_status(&results[3]["receipt"]).await, "counted");
    let problem = |index: usize| results[index]["problem"].clone();
    assert_eq!((&problem(2)["type"], &problem(2)["status"]), (&json!("/problems/already-voted"), &json!(409)));
    assert_eq!(problem(5)["type"], "/problems/already-voted");
    let pointers = |index: usize| {
        assert_eq!(problem(index)["type"], "/problems/validation");
        let errors = problem(index)["errors"].as_array().expect("errors").clone();
        errors.iter().map(|error| error["pointer"].as_str().expect("a pointer").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(pointers(1), ["/votes/1/choices/0"]);
    assert_eq!(pointers(6), ["/votes/6/voter_id"]);
    assert_eq!(pointers(7), ["/votes/7/choices", "/votes/7/x", "/votes/7/voter_id"]);
    assert_eq!(pointers(8), ["/votes/8"]);
    assert_eq!(server.votes(&poll).await, [2, 1, 1]);
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_votes() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let votes = |count: usize| {
        Value::from((0..count).map(|number| json!({ "choices": [1], "voter_id": number.to_string() })).collect::<Vec<_>>())
    };
    let results = send(&server, &poll, votes(1000)).await.expect(202)["results"].clone();
    assert_eq!(results.as_array().map(Vec::len), Some(1000));
    assert_eq!(server.votes(&poll).await, [1000, 0, 0]);
    assert_eq!(send(&server, &poll, votes(1001)).await.expect_errors(), ["/votes"]);
    assert_eq!(send(&server, &poll, votes(0)).await.expect_errors(), ["/votes"]);
    assert_eq!(send(&server, &poll, json!({})).await.expect_errors(), ["/votes"]);
    assert_eq!(server.post(&poll.path("/votes"), &json!({ "vote": [] })).send().await.expect_errors(), ["/votes", "/vote"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_not_told_at_many_times_its_length() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let names = |count: u32| (0..count).map(|name| format!(r#""{name:x}":0"#)).collect::<Vec<_>>().join(",");
    let votes = vec![format!("{{{}}}", names(100)); 1000].join(",");
    let body = format!(r#"{{"votes":[{votes}]}}"#);
    let answer = server.post(&poll.path("/votes"), &Value::Null).body(body.clone()).send().await;
    let results = answer.expect(202)["results"].as_array().expect("results").clone();
    let errors: Vec<usize> = results.iter().map(|result| result["problem"]["errors"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!((errors.len(), errors[0]), (1000, 102), "the first is explained in full");
    assert!(errors.iter().all(|&errors| errors > 0), "each has a reason");
    assert!(errors.iter().sum::<usize>() <= 2000);
    assert!(answer.bytes.len() < body.len(), "{} bytes for {}", answer.bytes.len(), body.len());
}

#[tokio::test]
async fn a_batch_for_a_closed_poll_is_refused_vote_by_vote() {
    let server = Server::start();
    let poll = server.create(json!({ "closes_at": server.time_in(1) })).await;
    server.advance(1);
    let answer = server.post(&poll.path("/votes"), &json!({ "votes": [{ "choices": [1], "voter_id": "a" }] }));
    let answer = answer.header("prefer", "wait=2").send().await;
    let results = answer.expect(202)["results"].clone();
    assert_eq!((&results[0]["status"], &results[0]["problem"]["type"]), (&json!("refused"), &json!("/problems/poll-closed")));
    assert_eq!(answer.header("preference-applied"), "wait=2");
}

#[tokio::test]
async fn the_votes_of_one_voter_take_effect_in_the_order_of_the_batch() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let votes: Vec<Value> = (0..100).map(|number| json!({ "choices": [1 + number % 3], "voter_id": "ann" })).collect();
    let results = send(&server, &poll, votes.into()).await.expect(202)["results"].clone();
    assert_eq!(server.votes(&poll).await, [1, 0, 0]);
    assert_eq!(server.receipt_status(&results[98]["receipt"]).await, "superseded");
    assert_eq!(server.receipt_status(&results[99]["receipt"]).await, "counted");
}

#[tokio::test]
async fn a_field_that_is_named_twice_is_refused_as_in_a_single_vote() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let post = async |rest: &str, body: &str| {
        let request = server.post(&poll.path(rest), &Value::Null).body(body.to_owned());
        request.send().await
    };
    let twice = r#"{"choices": [1], "voter_id": "ann", "choices": [2]}"#;
    assert_eq!(post("/vote", twice).await.expect_errors(), [""]);
    let sound = r#"{"choices": [3], "voter_id": "ben"}"#;
    let results = post("/votes", &format!(r#"{{"votes": [{twice}, {sound}]}}"#)).await.expect(202)["results"].clone();
    assert_eq!(results[0]["problem"]["errors"], json!([{ "pointer": "/votes/0", "detail": "must not name a field twice" }]));
    assert_eq!(results[1]["status"], "counted");
    assert_eq!(post("/votes", &format!(r#"{{"votes": [{sound}], "votes": [{sound}]}}"#)).await.expect_errors(), [""]);
    assert_eq!(server.votes(&poll).await, [0, 0, 1]);
}

/// A store that takes less time for each look at a voter's vote than for the one before.
struct HastierStore {
    inner: Arc<MemoryStore>,
    looks: AtomicU32,
}

#[async_trait]
impl TallyStore for HastierStore {
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
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100).saturating_sub(Duration::from_millis(10) * look)).await;
        self.inner.standing(poll, voter).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.inner.history(poll, steps).await
    }
}

fn hastier() -> Setup {
    let setup = Setup::default();
    let tallies: Arc<dyn TallyStore> = Arc::new(HastierStore { inner: setup.store.clone(), looks: AtomicU32::new(0) });
    Setup { tallies: Some(tallies), ..setup }
}

#[tokio::test(start_paused = true)]
async fn the_votes_of_a_known_voter_keep_their_order_however_long_the_store_takes_for_each() {
    let server = Server::start_with(hastier());
    let poll = server.create(json!({ "allow_change": true })).await;
    for voter in ["ann", "ben"] {
        server.vote(&poll, voter, 1).await.expect(202);
    }
    let vote = |number: usize| json!({ "choices": [1 + number % 3], "voter_id": if number < 5 { "ann" } else { "ben" } });
    let started = tokio::time::Instant::now();
    let results = send(&server, &poll, (0..10).map(vote).collect()).await.expect(202)["results"].clone();
    assert_eq!(server.votes(&poll).await, [1, 1, 0]);
    for (index, status) in [(3, "superseded"), (4, "counted"), (8, "superseded"), (9, "counted")] {
        assert_eq!(server.receipt_status(&results[index]["receipt"]).await, status, "{index}");
    }
    assert!(started.elapsed() < Duration::from_millis(550), "one voter did not wait for the other");
}

#[tokio::test(start_paused = true)]
async fn votes_of_one_voter_that_do_not_fit_into_the_deadline_are_not_recorded() {
    let server = Server::start_with(Setup { deadline: Duration::from_millis(150), ..hastier() });
    let poll = server.create(json!({ "allow_change": true })).await;
    server.vote(&poll, "ann", 1).await.expect(202);
    let votes: Vec<Value> = (0..4).map(|_| json!({ "choices": [2], "voter_id": "ann" })).collect();
    let results = send(&server, &poll, votes.into()).await.expect(202)["results"].clone();
    let problems: Vec<Option<&str>> = (0..4).map(|index| results[index]["problem"]["type"].as_str()).collect();
    assert_eq!(problems, [None, None, Some("/problems/not-recorded"), Some("/problems/not-recorded")]);
}
