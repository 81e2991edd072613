//! The point: counting belongs to the crate, so any web framework carries it; here axum, in three routes.
//!
//! ```text
//! cargo run -p polling-examples --bin embed_in_axum -- sqlite:embedded.db
//! curl -s -d '{"question":"Tea or coffee?","options":["Tea","Coffee"]}' -H 'content-type: application/json' 127.0.0.1:8090/polls
//! curl -s -d '{"choices":[1]}' -H 'content-type: application/json' -H 'x-user: ann' 127.0.0.1:8090/polls/ID/vote
//! curl -s 127.0.0.1:8090/polls/ID
//! ```
#![expect(clippy::print_stdout, reason = "it is a program for a person at a terminal")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use polling_core::clock::{Clock, SystemClock};
use polling_core::ingest::Ingest;
use polling_core::model::{Choices, OptionId, Outcome, PollDraft, PollId, Vote, VoteId, VoteKind, VoterIdentity};
use polling_core::open::{Urls, open};
use polling_core::secret::{OwnerToken, Secret};
use polling_core::shutdown::Shutdown;
use polling_core::sink::{Recorded, SinkError, VoteSink};
use polling_core::store::PollStore;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

const LISTEN: &str = "127.0.0.1:8090";
/// Voters are known by a digest under this secret. A real service keeps its own, and keeps it for as long as its votes.
const SECRET: &[u8] = b"the secret of an example and of nothing else";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let listener = TcpListener::bind(LISTEN).await?;
    let shutdown = Shutdown::new();
    let request = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            request.request();
        }
    });
    println!("listening on http://{LISTEN}, votes go to {store}; stop with Ctrl-C");
    run(&store, listener, shutdown).await
}

/// Serves until the shutdown is requested and every vote that was taken is counted.
async fn run(store: &str, listener: TcpListener, shutdown: Shutdown) -> Result<(), Box<dyn Error>> {
    let urls =
        Urls { log: "memory:".to_owned(), store: store.to_owned(), bus: "memory:".to_owned(), data_dir: PathBuf::from(".") };
    let backends = open(&urls).await?;
    let ingest = Ingest::new(backends.source, backends.tallies, backends.bus);
    // The loop ends when the log is closed and empty, so it gets a request of its own that nobody makes.
    let counting = tokio::spawn(ingest.run(Shutdown::new()));
    let service = Arc::new(Service { sink: backends.sink, polls: backends.polls, secret: Secret::new(SECRET)? });
    let routes = Router::new()
        .route("/polls", post(create))
        .route("/polls/{id}", get(results))
        .route("/polls/{id}/vote", post(vote))
        .with_state(service);
    axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.requested().await }).await?;
    if let Some(log) = backends.memory_log {
        log.close();
    }
    Ok(counting.await?)
}

struct Service {
    sink: Arc<dyn VoteSink>,
    polls: Arc<dyn PollStore>,
    secret: Secret,
}

type Answer = Result<Response, Response>;

#[derive(Deserialize)]
struct NewPoll {
    question: String,
    options: Vec<String>,
}

async fn create(State(service): State<Arc<Service>>, Json(new): Json<NewPoll>) -> Answer {
    let draft = PollDraft { question: new.question, options: new.options, ..PollDraft::default() };
    // Whoever has this token may close the poll; this service has no such route, so it forgets it.
    let owner = OwnerToken::from_random(rand::random());
    let poll = draft.into_poll(owner.key(), SystemClock.now()).map_err(|broken| {
        let errors: Vec<Value> = broken.iter().map(|rule| json!({"pointer": rule.pointer, "detail": rule.detail})).collect();
        refusal(StatusCode::UNPROCESSABLE_ENTITY, json!({ "errors": errors }))
    })?;
    service.polls.create(&poll).await.map_err(|error| unavailable(&error))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": poll.id.as_uuid() }))).into_response())
}

async fn results(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let id = PollId::parse(&id).ok_or_else(no_such_poll)?;
    let snapshot = service.polls.read(id).await.map_err(|error| unavailable(&error))?.ok_or_else(no_such_poll)?;
    let options: Vec<Value> = snapshot
        .poll
        .options
        .iter()
        .zip(&snapshot.tally.totals.votes)
        .map(|(text, votes)| json!({"text": text, "votes": votes}))
        .collect();
    let body = json!({"question": snapshot.poll.question, "voters": snapshot.tally.totals.voters, "options": options});
    Ok(Json(body).into_response())
}

#[derive(Deserialize)]
struct NewVote {
    choices: Vec<u64>,
    /// Made by the client, so that it can send the vote again when the answer was lost.
    vote_id: Option<Uuid>,
}

async fn vote(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(new): Json<NewVote>,
) -> Answer {
    // Who votes is the business of the service; here a proxy in front has checked it.
    let user = headers.get("x-user").and_then(|value| value.to_str().ok());
    let user = user.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, json!({"error": "the header x-user is missing"})))?;
    let poll = PollId::parse(&id).ok_or_else(no_such_poll)?;
    let choices: Option<Vec<OptionId>> = new.choices.into_iter().map(OptionId::new).collect();
    let choices = choices.and_then(Choices::new);
    let choices = choices.ok_or_else(|| refusal(StatusCode::UNPROCESSABLE_ENTITY, json!({"error": "choices must be a set"})))?;
    let vote = Vote {
        poll,
        voter: service.secret.voter_key(poll, VoterIdentity::Declared(user)),
        id: VoteId(new.vote_id.unwrap_or_else(Uuid::new_v4)),
        accepted_at: SystemClock.now(),
        kind: VoteKind::Cast(choices),
    };
    // Whether it counts is decided by the store; there is nothing to check here first.
    match service.sink.record(vote).await {
        Ok(Recorded { is_conflict: true, .. }) => {
            Err(refusal(StatusCode::CONFLICT, json!({"error": "this vote_id was used before, for another choice"})))
        }
        Ok(Recorded { outcome: Some(outcome), .. }) => {
            let status = if outcome == Outcome::Counted { StatusCode::OK } else { StatusCode::CONFLICT };
            Ok((status, Json(json!({ "outcome": outcome.as_str() }))).into_response())
        }
        Ok(Recorded { outcome: None, .. }) => Ok((StatusCode::ACCEPTED, Json(json!({"outcome": "pending"}))).into_response()),
        Err(error) => {
            // Both may be sent again with the same vote id; only the first is certain not to have been counted.
            let recorded = if matches!(error, SinkError::NotRecorded { .. }) { "no" } else { "unknown" };
            Err(refusal(StatusCode::SERVICE_UNAVAILABLE, json!({"error": error.to_string(), "recorded": recorded})))
        }
    }
}

fn refusal(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

fn no_such_poll() -> Response {
    refusal(StatusCode::NOT_FOUND, json!({"error": "there is no such poll"}))
}

fn unavailable(error: &polling_core::store::StoreError) -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": error.to_string() }))
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    struct Server {
        url: String,
        client: Client,
        shutdown: Shutdown,
        serving: tokio::task::JoinHandle<()>,
    }

    impl Server {
        async fn start(store: &str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let shutdown = Shutdown::new();
            let (store, request) = (store.to_owned(), shutdown.clone());
            let serving = tokio::spawn(async move { run(&store, listener, request).await.expect("it serves") });
            Self { url, client: Client::new(), shutdown, serving }
        }

        async fn post(&self, path: &str, user: &str, body: Value) -> (u16, Value) {
            let request = self.client.post(format!("{}{path}", self.url)).header("x-user", user).json(&body);
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.json().await.expect("JSON"))
        }

        async fn results(&self, path: &str) -> Value {
            let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
            answer.json().await.expect("JSON")
        }

        async fn stop(self) {
            self.shutdown.request();
            self.serving.await.expect("it stops");
        }
    }

    async fn create_poll(server: &Server) -> String {
        let new = json!({"question": "Tea or coffee?", "options": ["Tea", "Coffee"]});
        let (status, body) = server.post("/polls", "ann", new).await;
        assert_eq!(status, 201);
        format!("/polls/{}", body["id"].as_str().expect("an id"))
    }

    #[tokio::test]
    async fn votes_are_counted_once_for_each_user() {
        let server = Server::start("memory:").await;
        let poll = create_poll(&server).await;
        let path = format!("{poll}/vote");
        let first = json!({"choices": [2], "vote_id": Uuid::from_u128(1)});
        assert_eq!(server.post(&path, "ann", first.clone()).await, (200, json!({"outcome": "counted"})));
        assert_eq!(server.post(&path, "ann", first).await, (200, json!({"outcome": "counted"})), "a repeat");
        let second = json!({"choices": [1], "vote_id": Uuid::from_u128(2)});
        assert_eq!(server.post(&path, "ann", second.clone()).await, (409, json!({"outcome": "duplicate"})));
        assert_eq!(server.post(&path, "ben", second).await.0, 200, "another user may use the same vote id");
        let results = server.results(&poll).await;
        assert_eq!((&results["voters"], &results["options"][1]["votes"]), (&json!(2), &json!(1)));
        server.stop().await;
    }

    #[tokio::test]
    async fn votes_outlive_the_process() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = format!("sqlite:{}", folder.path().join("votes.db").display());
        let server = Server::start(&store).await;
        let poll = create_poll(&server).await;
        let first = json!({"choices": [2], "vote_id": Uuid::from_u128(1)});
        assert_eq!(server.post(&format!("{poll}/vote"), "ann", first.clone()).await.0, 200);
        server.stop().await;
        let server = Server::start(&store).await;
        assert_eq!(server.results(&poll).await["voters"], 1);
        let answer = server.post(&format!("{poll}/vote"), "ann", first).await;
        assert_eq!(answer, (200, json!({"outcome": "counted"})), "a repeat");
        assert_eq!(server.results(&poll).await["voters"], 1);
        server.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused() {
        let server = Server::start("memory:").await;
        let poll = create_poll(&server).await;
        let lonely = json!({"question": "Tea?", "options": ["Tea"]});
        assert_eq!(server.post("/polls", "ann", lonely).await.1["errors"][0]["pointer"], "/options");
        assert_eq!(server.post(&format!("{poll}/vote"), "ann", json!({"choices": [1, 1]})).await.0, 422);
        assert_eq!(
            server.post(&format!("{poll}/vote"), "ann", json!({"choices": [3]})).await,
            (409, json!({"outcome": "invalid"}))
        );
        assert_eq!(server.post("/polls/nonsense/vote", "ann", json!({"choices": [1]})).await.0, 404);
        server.stop().await;
    }
}
