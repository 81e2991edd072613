//! Votes whose outcome the log does not tell, as with a log that others count.

use std::sync::Arc;

use async_trait::async_trait;
use polling_core::model::Vote;
use polling_core::sink::memory::MemorySink;
use polling_core::sink::{Recorded, SinkError, VoteSink};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Answered, Created, Server, Setup};

/// Counts votes and does not say how.
struct SilentSink(MemorySink);

#[async_trait]
impl VoteSink for SilentSink {
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError> {
        Ok(Recorded { outcome: None, ..self.0.record(vote).await? })
    }
}

fn start() -> Server {
    Server::start_with(Setup { sink: |sink| Arc::new(SilentSink(sink)), ..Setup::default() })
}

async fn cast(server: &Server, poll: &Created, voter: &str, choice: u8, vote_id: Uuid) -> Answered {
    let body = json!({ "choices": [choice], "voter_id": voter, "vote_id": vote_id });
    server.post(&poll.path("/vote"), &body).send().await
}

#[tokio::test]
async fn a_second_vote_that_the_server_knows_of_is_refused() {
    let server = start();
    let poll = server.create(json!({})).await;
    let id = Uuid::new_v4();
    let first = cast(&server, &poll, "ann", 1, id).await.expect(202);
    assert_eq!(first["status"], "pending");
    assert_eq!(server.receipt_status(&first["receipt"]).await, "counted");
    assert_eq!(cast(&server, &poll, "ann", 1, id).await.expect(202)["status"], "counted");
    cast(&server, &poll, "ann", 2, id).await.expect_problem(409, "already-voted");
    cast(&server, &poll, "ann", 1, Uuid::new_v4()).await.expect_problem(409, "already-voted");
    server.vote(&poll, "ann", 1).await.expect_problem(409, "already-voted");
    assert_eq!(server.votes(&poll).await, [1, 0, 0]);
}

#[tokio::test]
async fn a_second_vote_that_the_server_does_not_know_of_ends_as_a_duplicate() {
    let setup = || Setup { sink: |sink| Arc::new(SilentSink(sink)), ..Setup::default() };
    let first = Setup { ..setup() };
    let store = first.store.clone();
    let first = Server::start_with(first);
    let poll = first.create(json!({})).await;
    first.vote(&poll, "ann", 1).await.expect(202);
    let second = Server::start_with(Setup { store, ..setup() });
    let accepted = second.vote(&poll, "ann", 2).await.expect(202);
    assert_eq!(accepted["status"], "pending");
    assert_eq!(second.receipt_status(&accepted["receipt"]).await, "duplicate");
    assert_eq!(second.votes(&poll).await, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_prefers_to_wait_is_told_the_outcome() {
    let server = start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let send = async |choice: u8, vote_id: Value| {
        let body = json!({ "choices": [choice], "voter_id": "ann", "vote_id": vote_id });
        server.post(&poll.path("/vote"), &body).header("prefer", "wait=10").send().await
    };
    let id = json!(Uuid::new_v4());
    let first = send(1, id.clone()).await;
    assert_eq!((first.expect(202)["status"].as_str(), first.header("preference-applied")), (Some("counted"), "wait=10"));
    assert_eq!(send(2, Value::Null).await.expect(202)["status"], "counted");
    // A vote that was replaced was counted once; sending it again does not put it back.
    assert_eq!(send(1, id.clone()).await.expect(202)["status"], "counted");
    send(3, id).await.expect_problem(409, "already-voted");
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
    let retract = async || server.delete(&poll.path("/vote?voter_id=ann")).header("prefer", "wait=10").send().await;
    assert_eq!(retract().await.expect(202)["status"], "counted");
    retract().await.expect_problem(409, "no-vote");
    let unhurried = server.delete(&poll.path("/vote?voter_id=ann")).send().await.expect(202);
    assert_eq!(
        (&unhurried["status"], server.receipt_status(&unhurried["receipt"]).await),
        (&json!("pending"), "invalid".to_owned())
    );
}
