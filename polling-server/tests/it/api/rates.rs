//! How often one address and one voter may ask.

use polling_server::api::access::Access;
use polling_server::api::rate_limits::{Rate, Rates};
use serde_json::json;

use super::support::{Server, Setup};

fn start(rates: Rates) -> Server {
    Server::start_with(Setup { access: Access { rates, ..Access::open() }, ..Setup::default() })
}

#[tokio::test]
async fn a_voter_who_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let server = start(Rates { voter: Rate::parse("1/h:3"), address: None });
    let poll = server.create(json!({ "allow_change": true })).await;
    let vote = async |voter: &str, option: u8| {
        server.post(&poll.path("/vote"), &json!({ "choices": [option], "voter_id": voter })).send().await
    };
    for option in [1, 2, 3] {
        vote("ann", option).await.expect(202);
    }
    let refused = vote("ann", 1).await;
    refused.expect_problem(429, "rate-limited");
    let seconds: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!((1..=3600).contains(&seconds));
    vote("ben", 1).await.expect(202);
    assert_eq!(server.votes(&poll).await, [1, 0, 1], "what was refused changed nothing");
}

#[tokio::test]
async fn in_a_batch_only_the_votes_of_that_voter_are_refused() {
    let server = start(Rates { voter: Rate::parse("1/h:2"), address: None });
    let poll = server.create(json!({})).await;
    let votes: Vec<_> = ["ann", "ann", "ann", "ben"].map(|voter| json!({ "choices": [1], "voter_id": voter })).into();
    let answered = server.post(&poll.path("/votes"), &json!({ "votes": votes })).send().await.expect(202);
    let results = answered["results"].as_array().expect("a list");
    assert_eq!(results[2]["status"], "refused");
    assert_eq!(results[2]["problem"]["type"], "/problems/rate-limited");
    assert_ne!(results[3]["status"], "refused");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_whatever_it_asks_for() {
    let server = start(Rates { address: Rate::parse("1/h:4"), voter: None });
    let poll = server.create(json!({})).await;
    for path in ["", "/vote", "/history"] {
        let _whatever = server.get(&poll.path(path)).send().await;
    }
    for path in ["", "/export.csv"] {
        server.get(&poll.path(path)).send().await.expect_problem(429, "rate-limited");
    }
    server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await.expect_problem(429, "rate-limited");
}
