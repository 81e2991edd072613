//! Sending a vote again: it leads to the outcome of its first arrival, at any time.

use poem::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Answered, Created, Server, Setup};

struct Voter<'a> {
    server: &'a Server,
    poll: &'a Created,
}

impl Voter<'_> {
    async fn cast(&self, vote_id: Uuid, choice: u8) -> Answered {
        let body = json!({ "choices": [choice], "voter_id": "ann", "vote_id": vote_id });
        self.server.post(&self.poll.path("/vote"), &body).send().await
    }

    async fn retract(&self, vote_id: Uuid) -> Answered {
        self.server.delete(&self.poll.path(&format!("/vote?voter_id=ann&vote_id={vote_id}"))).send().await
    }
}

fn counted(answer: &Answered) -> Value {
    let accepted = answer.expect(202);
    assert_eq!(accepted["status"], "counted");
    accepted["receipt"].clone()
}

#[tokio::test]
async fn the_same_vote_is_accepted_again_and_counts_once() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let voter = Voter { server: &server, poll: &poll };
    let id = Uuid::new_v4();
    for _ in 0..3 {
        let receipt = counted(&voter.cast(id, 2).await);
        assert_eq!(server.receipt_status(&receipt).await, "counted");
    }
    voter.cast(id, 1).await.expect_problem(409, "already-voted");
    voter.cast(Uuid::new_v4(), 2).await.expect_problem(409, "already-voted");
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_server_that_forgot_the_voter_answers_the_same() {
    let setup = Setup::default();
    let store = setup.store.clone();
    let server = Server::start_with(setup);
    let poll = server.create(json!({})).await;
    let id = Uuid::new_v4();
    counted(&Voter { server: &server, poll: &poll }.cast(id, 2).await);
    // Another server over the same store has seen nobody.
    let other = Server::start_with(Setup { store, ..Setup::default() });
    let voter = Voter { server: &other, poll: &poll };
    counted(&voter.cast(id, 2).await);
    voter.cast(id, 1).await.expect_problem(409, "already-voted");
    voter.cast(Uuid::new_v4(), 1).await.expect_problem(409, "already-voted");
    assert_eq!(other.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_replaced_vote_sent_again_changes_nothing() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let voter = Voter { server: &server, poll: &poll };
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    counted(&voter.cast(first, 1).await);
    counted(&voter.cast(second, 2).await);
    let again = counted(&voter.cast(first, 1).await);
    assert_eq!(server.receipt_status(&again).await, "superseded");
    counted(&voter.cast(second, 2).await);
    voter.cast(second, 3).await.expect_problem(409, "already-voted");
    voter.cast(first, 2).await.expect_problem(409, "already-voted");
    voter.retract(first).await.expect_problem(409, "already-voted");
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_refused_retraction_keeps_its_name() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let voter = Voter { server: &server, poll: &poll };
    let id = Uuid::new_v4();
    for _ in 0..2 {
        voter.retract(id).await.expect_problem(409, "no-vote");
        voter.cast(id, 1).await.expect_problem(409, "already-voted");
    }
    assert_eq!(server.votes(&poll).await, [0, 0, 0]);
}

#[tokio::test]
async fn in_a_batch_too_a_name_stands_for_one_choice() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let voter = Voter { server: &server, poll: &poll };
    let (first, retraction) = (Uuid::new_v4(), Uuid::new_v4());
    counted(&voter.cast(first, 1).await);
    counted(&voter.retract(retraction).await);
    let vote = |id: Uuid, choice: u8| json!({ "choices": [choice], "voter_id": "ann", "vote_id": id });
    let body = json!({ "votes": [vote(Uuid::new_v4(), 3), vote(first, 1), vote(first, 2), vote(retraction, 1)] });
    let results = server.post(&poll.path("/votes"), &body).send().await.expect(202)["results"].clone();
    let of = |index: usize| (results[index]["status"].clone(), results[index]["problem"]["type"].clone());
    assert_eq!([of(0), of(1)], [(json!("counted"), Value::Null), (json!("counted"), Value::Null)]);
    let refused = (json!("refused"), json!("/problems/already-voted"));
    assert_eq!([of(2), of(3)], [refused.clone(), refused]);
    assert_eq!(server.votes(&poll).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_retraction_sent_again_is_accepted_again() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let voter = Voter { server: &server, poll: &poll };
    let (vote, retraction) = (Uuid::new_v4(), Uuid::new_v4());
    counted(&voter.cast(vote, 1).await);
    voter.retract(vote).await.expect_problem(409, "already-voted");
    counted(&voter.retract(retraction).await);
    counted(&voter.retract(retraction).await);
    voter.cast(retraction, 1).await.expect_problem(409, "already-voted");
    counted(&voter.cast(vote, 1).await);
    assert_eq!(server.votes(&poll).await, [0, 0, 0], "the retracted vote stays retracted");
    counted(&voter.cast(Uuid::new_v4(), 3).await);
    counted(&voter.retract(retraction).await);
    voter.cast(retraction, 3).await.expect_problem(409, "already-voted");
    assert_eq!(server.votes(&poll).await, [0, 0, 1], "a late repeat of the retraction takes nothing back");
}

#[tokio::test]
async fn a_vote_sent_again_after_the_close_leads_to_its_first_outcome() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true, "closes_at": server.time_in(9) })).await;
    let voter = Voter { server: &server, poll: &poll };
    let (first, second, retraction) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    counted(&voter.cast(first, 1).await);
    counted(&voter.retract(retraction).await);
    counted(&voter.cast(second, 2).await);
    server.advance(10);
    for receipt in [counted(&voter.cast(second, 2).await), counted(&voter.retract(retraction).await)] {
        assert_eq!(server.receipt_status(&receipt).await, "counted");
    }
    assert_eq!(server.receipt_status(&counted(&voter.cast(first, 1).await)).await, "superseded");
    for (id, choice) in [(second, 3), (first, 2), (retraction, 1)] {
        voter.cast(id, choice).await.expect_problem(409, "already-voted");
    }
    voter.retract(first).await.expect_problem(409, "already-voted");
    voter.cast(Uuid::new_v4(), 3).await.expect_problem(409, "poll-closed");
    voter.retract(Uuid::new_v4()).await.expect_problem(409, "poll-closed");
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_second_vote_stays_a_second_vote_after_the_close() {
    let server = Server::start();
    let poll = server.create(json!({ "closes_at": server.time_in(9) })).await;
    let voter = Voter { server: &server, poll: &poll };
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    counted(&voter.cast(first, 1).await);
    voter.cast(second, 2).await.expect_problem(409, "already-voted");
    server.advance(10);
    voter.cast(second, 2).await.expect_problem(409, "already-voted");
    counted(&voter.cast(first, 1).await);
    server.vote(&poll, "bob", 1).await.expect_problem(409, "poll-closed");
}

#[tokio::test]
async fn a_browser_that_lost_the_answer_to_its_first_vote_is_the_same_voter() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let body = json!({ "choices": [1], "vote_id": Uuid::new_v4() });
    let lost = server.post(&poll.path("/vote"), &body).send().await;
    lost.expect(202);
    let again = server.request(Method::POST, &poll.path("/vote")).json(&body).send().await;
    counted(&again);
    assert_eq!(again.header("set-cookie"), lost.header("set-cookie"));
    assert_eq!(server.votes(&poll).await, [1, 0, 0]);
}
