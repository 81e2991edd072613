//! Casting and retracting votes.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::Server;

#[tokio::test]
async fn a_vote_is_answered_by_its_receipt() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let vote_id = Uuid::new_v4().to_string();
    let body = json!({ "choices": [2], "voter_id": "ann", "vote_id": vote_id });
    let answer = server.post(&poll.path("/vote"), &body).send().await;
    let accepted = answer.expect(202);
    let receipt = accepted["receipt"].as_str().expect("a receipt");
    assert_eq!(accepted, json!({ "receipt": receipt, "status": "counted", "vote_id": vote_id }));
    assert_eq!(answer.header("location"), format!("/receipts/{receipt}"));
    assert_eq!((answer.header("set-cookie"), answer.header("preference-applied")), ("", ""));
    let found = server.get(answer.header("location")).send().await.expect(200);
    assert_eq!(found, json!({ "status": "counted", "poll_id": poll.id }));
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_vote_without_a_name_gets_one() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let body = json!({ "choices": [1], "voter_id": "\u{0}é\"", "vote_id": null });
    let accepted = server.post(&poll.path("/vote"), &body).send().await.expect(202);
    assert!(Uuid::parse_str(accepted["vote_id"].as_str().expect("a string")).is_ok());
    server.post(&poll.path("/vote"), &body).send().await.expect_problem(409, "already-voted");
}

#[tokio::test]
async fn fifty_concurrent_votes_of_one_voter_count_once() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let attempts = join_all((0..50).map(|number| server.vote(&poll, "ann", 1 + number % 3))).await;
    let accepted = attempts.iter().filter(|answer| answer.status.as_u16() == 202).count();
    assert_eq!(accepted, 1);
    for refused in attempts.iter().filter(|answer| answer.status.as_u16() != 202) {
        refused.expect_problem(409, "already-voted");
    }
    assert_eq!(server.votes(&poll).await.iter().sum::<u64>(), 1);
}

#[tokio::test]
async fn each_bound_of_a_vote_holds_and_one_beyond_is_refused() {
    let server = Server::start();
    let poll = server.create(json!({ "max_choices": 2, "allow_change": true })).await;
    let path = poll.path("/vote");
    let cases = [
        ("choices", json!([1, 3]), json!([1, 4]), "/choices/1"),
        ("choices", json!([1]), json!([0]), "/choices/0"),
        ("choices", json!([1]), json!([1, 1]), "/choices/1"),
        ("choices", json!([2, 1]), json!([1, 2, 3]), "/choices"),
        ("choices", json!([1]), json!([]), "/choices"),
        ("choices", json!([1]), json!(1), "/choices"),
        ("choices", json!([1]), json!(null), "/choices"),
        ("choices", json!([1]), json!(["1"]), "/choices/0"),
        ("choices", json!([1]), json!([1.0]), "/choices/0"),
        ("choices", json!([1]), json!([-1]), "/choices/0"),
        ("choices", json!([1]), json!([101]), "/choices/0"),
        ("choices", json!([1]), json!([18_446_744_073_709_551_615_u64]), "/choices/0"),
        ("voter_id", json!("é".repeat(128)), json!("é".repeat(129)), "/voter_id"),
        ("voter_id", json!("\t"), json!(""), "/voter_id"),
        ("voter_id", json!("7"), json!(7), "/voter_id"),
        ("vote_id", json!(Uuid::new_v4()), json!("no"), "/vote_id"),
        ("vote_id", json!(null), json!(Uuid::new_v4().simple().to_string()), "/vote_id"),
        ("vote_id", json!(null), json!(true), "/vote_id"),
    ];
    for (field, good, bad, place) in cases {
        let mut body = json!({ "choices": [1], "voter_id": "ann" });
        body[field] = good;
        server.post(&path, &body).send().await.expect(202);
        body[field] = bad;
        assert_eq!(server.post(&path, &body).send().await.expect_errors(), [place], "{body}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_vote_is_named() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let path = poll.path("/vote");
    let body = json!({ "choices": [9, 9, "x"], "voter_id": [], "vote_id": 1, "choice": 1 });
    let expected = ["/choices", "/choices/0", "/choices/1", "/choices/2", "/voter_id", "/vote_id", "/choice"];
    assert_eq!(server.post(&path, &body).send().await.expect_errors(), expected);
    assert_eq!(server.post(&path, &json!({ "voter_id": "a" })).send().await.expect_errors(), ["/choices"]);
    assert_eq!(server.post(&path, &json!("x")).send().await.expect_errors(), [""]);
    let twice = server.request(poem::http::Method::POST, &path).header("content-type", "application/json");
    let twice = twice.body(r#"{"choices":[1],"choices":[2],"voter_id":"a"}"#).send().await;
    assert_eq!(twice.expect_errors(), [""]);
}

#[tokio::test]
async fn a_poll_takes_votes_from_its_opening_to_its_close() {
    let server = Server::start();
    let poll = server.create(json!({ "opens_at": server.time_in(10), "closes_at": server.time_in(20) })).await;
    server.vote(&poll, "a", 1).await.expect_problem(409, "poll-not-open");
    server.advance(10);
    server.vote(&poll, "a", 1).await.expect(202);
    server.advance(10);
    server.vote(&poll, "b", 1).await.expect_problem(409, "poll-closed");
    assert_eq!(server.votes(&poll).await, [1, 0, 0]);
}

#[tokio::test]
async fn a_changed_vote_replaces_the_former() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let first = server.vote(&poll, "ann", 1).await.expect(202);
    let second = server.vote(&poll, "ann", 3).await.expect(202);
    assert_eq!(server.votes(&poll).await, [0, 0, 1]);
    assert_eq!(server.receipt_status(&first["receipt"]).await, "superseded");
    assert_eq!(server.receipt_status(&second["receipt"]).await, "counted");
}

#[tokio::test]
async fn a_retraction_takes_the_vote_back() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let path = poll.path("/vote?voter_id=ann");
    server.delete(&path).send().await.expect_problem(409, "no-vote");
    let vote = server.vote(&poll, "ann", 1).await.expect(202);
    let retraction = server.delete(&path).send().await;
    let accepted = retraction.expect(202);
    assert_eq!(accepted["status"], "counted");
    assert!(retraction.header("location").starts_with("/receipts/"));
    assert_eq!(server.votes(&poll).await, [0, 0, 0]);
    assert_eq!(server.receipt_status(&vote["receipt"]).await, "superseded");
    assert_eq!(server.receipt_status(&accepted["receipt"]).await, "counted");
    server.delete(&path).send().await.expect_problem(409, "no-vote");
    server.vote(&poll, "ann", 2).await.expect(202);
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_retraction_keeps_the_rules_of_its_poll() {
    let server = Server::start();
    let fixed = server.create(json!({})).await;
    server.vote(&fixed, "ann", 1).await.expect(202);
    server.delete(&fixed.path("/vote?voter_id=ann")).send().await.expect_problem(409, "change-not-allowed");
    let poll = server.create(json!({ "allow_change": true, "closes_at": server.time_in(5) })).await;
    let bad = server.delete(&poll.path("/vote?voter_id=&vote_id=7")).send().await;
    assert_eq!(bad.expect_errors(), ["voter_id", "vote_id"]);
    server.delete(&poll.path("/vote")).send().await.expect_problem(409, "no-vote");
    server.vote(&poll, "ann", 1).await.expect(202);
    server.advance(5);
    server.delete(&poll.path("/vote?voter_id=ann")).send().await.expect_problem(409, "poll-closed");
}

#[tokio::test]
async fn an_unknown_poll_or_receipt_is_not_found() {
    let server = Server::start();
    let unknown = polling_core::model::PollId::new(polling_core::clock::Timestamp::MIN).to_string();
    for id in [unknown.as_str(), "1", "%20", "00000000-0000-4000-8000-000000000000", &unknown.to_uppercase().replace('-', "")] {
        let body = json!({ "choices": [1], "voter_id": "a" });
        server.post(&format!("/polls/{id}/vote"), &body).send().await.expect_problem(404, "poll-not-found");
        server.post(&format!("/polls/{id}/votes"), &json!({ "votes": [] })).send().await.expect_problem(404, "poll-not-found");
        server.delete(&format!("/polls/{id}/vote")).send().await.expect_problem(404, "poll-not-found");
        server.get(&format!("/polls/{id}")).send().await.expect_problem(404, "poll-not-found");
    }
    let poll = server.create(json!({})).await;
    let receipt = server.vote(&poll, "a", 1).await.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    for forged in [
        "x".to_owned(),
        receipt[..114].to_owned(),
        receipt.replace(&receipt[60..61], if receipt[60..].starts_with('_') { "-" } else { "_" }),
        "é".to_owned(),
    ] {
        let forged: String = forged.bytes().map(|byte| format!("%{byte:02X}")).collect();
        server.get(&format!("/receipts/{forged}")).send().await.expect_problem(404, "receipt-not-found");
    }
}

#[tokio::test]
async fn a_preferred_wait_is_applied() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let body = json!({ "choices": [1], "voter_id": "ann" });
    let answer = server.post(&poll.path("/vote"), &body).header("prefer", "wait=99").send().await;
    assert_eq!(answer.expect(202)["status"], "counted");
    assert_eq!(answer.header("preference-applied"), "wait=30");
    let answer = server.delete(&poll.path("/vote?voter_id=ann")).header("prefer", "wait=0").send().await;
    assert_eq!((answer.expect(202)["status"].clone(), answer.header("preference-applied")), (Value::from("counted"), "wait=0"));
    let receipt = answer.json()["receipt"].as_str().map(str::to_owned).expect("a receipt");
    let found = server.get(&format!("/receipts/{receipt}")).header("prefer", "wait=3").send().await;
    assert_eq!((found.status.as_u16(), found.header("preference-applied")), (200, "wait=3"));
}
