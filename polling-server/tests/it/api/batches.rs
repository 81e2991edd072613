//! Casting many votes at once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Answered, Created, Server};

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
