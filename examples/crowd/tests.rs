//! The crowd against a small server that keeps the contract, breaks connections, and answers that it does not know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::arguments::Arguments;

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    /// Of five requests, one is recorded and answered by 503 "unknown", one is answered by 503 "not recorded".
    Unsure,
    /// Every tenth vote is acknowledged and forgotten.
    Lossy,
    /// Every vote is refused with a problem of this type.
    Refusing(&'static str),
    /// Every tenth voter is told each time that the vote is not recorded.
    Full,
}

struct Server {
    faults: Faults,
    allow_change: bool,
    requests: u64,
    /// For each voter, the vote ids seen with the outcome of each, and the choice that stands.
    voters: HashMap<String, (HashMap<String, &'static str>, u64)>,
}

type Shared = Arc<Mutex<Server>>;

fn poll(server: &Server) -> Value {
    let mut votes = [0_u64; 4];
    for (_, choice) in server.voters.values() {
        votes[usize::try_from(*choice).expect("small") - 1] += 1;
    }
    let options: Vec<Value> = votes.iter().map(|votes| json!({ "votes": votes })).collect();
    json!({"id": Uuid::nil(), "max_choices": 1, "allow_change": server.allow_change,
        "results": {"voters": server.voters.len(), "options": options}})
}

fn answer(status: &str, receipt: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({"status": status, "receipt": receipt, "vote_id": ""}))).into_response()
}

async fn vote(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut server = shared.lock().expect("whole");
    server.requests += 1;
    let number = server.requests;
    let (voter, vote_id) = (body["voter_id"].as_str().expect("text"), body["vote_id"].as_str().expect("text"));
    let choice = body["choices"][0].as_u64().expect("a number");
    let receipt = format!("{voter}.{vote_id}");
    match (server.faults, number % 10) {
        (Faults::Lossy, 0) => return answer("counted", &receipt),
        (Faults::Unsure, 1 | 6) => {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"recorded": "no"}))).into_response();
        }
        (Faults::Refusing(problem), _) => {
            return (StatusCode::CONFLICT, Json(json!({ "type": problem }))).into_response();
        }
        (Faults::Full, _) if voter.ends_with('0') => {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"recorded": "no"}))).into_response();
        }
        _ => {}
    }
    let allow_change = server.allow_change;
    let (seen, standing) = server.voters.entry(voter.to_owned()).or_default();
    if !seen.contains_key(vote_id) {
        if *standing != 0 && !allow_change {
            let problem = json!({"type": "/problems/already-voted"});
            return (StatusCode::CONFLICT, Json(problem)).into_response();
        }
        seen.values_mut().for_each(|outcome| *outcome = "superseded");
        seen.insert(vote_id.to_owned(), "counted");
        *standing = choice;
    }
    if server.faults == Faults::Unsure && number % 5 == 2 {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"recorded": "unknown"}))).into_response();
    }
    answer("pending", &receipt)
}

async fn receipt(State(shared): State<Shared>, Path(receipt): Path<String>) -> Json<Value> {
    let server = shared.lock().expect("whole");
    let (voter, vote_id) = receipt.split_once('.').expect("a receipt of ours");
    let status = server.voters.get(voter).and_then(|(seen, _)| seen.get(vote_id)).unwrap_or(&"pending");
    Json(json!({ "status": status }))
}

/// Serves until the runtime of the test ends; answers the URL.
async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// Runs the crowd with these arguments; answers what it answered.
async fn run(faults: Faults, arguments: &[&str]) -> bool {
    let allow_change = arguments.contains(&"--allow-change");
    let server = Server { faults, allow_change, requests: 0, voters: HashMap::new() };
    let shared: Shared = Arc::new(Mutex::new(server));
    let show = |State(shared): State<Shared>| async move { Json(poll(&shared.lock().expect("whole"))) };
    let routes = Router::new()
        .route("/polls", post(show))
        .route("/polls/{id}", get(show))
        .route("/polls/{id}/vote", post(vote))
        .route("/receipts/{receipt}", get(receipt))
        .with_state(shared);
    let url = serve(routes).await;
    let arguments = ["crowd", "--url", &url, "--settle-seconds", "0.2"].into_iter().chain(arguments.iter().copied());
    crate::run(&Arguments::parse_from(arguments)).await.expect("it runs")
}

#[tokio::test]
async fn a_sound_server_passes_in_an_open_and_in_a_closed_loop() {
    let arguments = ["--voters", "500", "--resends", "0.2", "--duplicates", "0.2"];
    assert!(run(Faults::None, &arguments).await);
    assert!(run(Faults::None, &[&arguments[..], &["--rate", "5000"]].concat()).await);
}

#[tokio::test]
async fn changes_supersede_in_the_order_of_the_voter() {
    assert!(run(Faults::None, &["--voters", "500", "--allow-change", "--changes", "0.5", "--resends", "0.3"]).await);
}

#[tokio::test]
async fn a_vote_that_is_not_answered_for_good_is_sent_again_and_counted_once() {
    assert!(run(Faults::Unsure, &["--voters", "300", "--duplicates", "0.2"]).await);
}

#[tokio::test]
async fn a_server_that_forgets_votes_is_found_out() {
    assert!(!run(Faults::Lossy, &["--voters", "200"]).await);
}

#[tokio::test]
async fn a_server_that_refuses_votes_is_found_out() {
    assert!(!run(Faults::Refusing("/problems/poll-closed"), &["--voters", "20"]).await);
    assert!(!run(Faults::Refusing("/problems/already-voted"), &["--voters", "20"]).await, "nobody had voted");
    assert!(!run(Faults::Full, &["--voters", "20", "--retry-seconds", "0.5"]).await);
}

#[tokio::test]
async fn refusals_are_allowed_on_demand_and_only_where_they_make_sense() {
    assert!(run(Faults::Refusing("/problems/poll-closed"), &["--voters", "20", "--allow-refusals"]).await);
    assert!(!run(Faults::Refusing("/problems/already-voted"), &["--voters", "20", "--allow-refusals"]).await);
    assert!(!run(Faults::Full, &["--voters", "20", "--retry-seconds", "0.5", "--allow-refusals"]).await);
}

#[tokio::test]
async fn a_server_that_is_lost_ends_the_run() {
    let options = json!([{ "votes": 0 }, { "votes": 0 }]);
    let poll = json!({"id": Uuid::nil(), "max_choices": 1, "allow_change": false, "results": {"voters": 0, "options": options}});
    let unavailable = || async { StatusCode::SERVICE_UNAVAILABLE };
    let routes = Router::new().route("/polls", post(|| async { Json(poll) })).route("/polls/{id}/vote", post(unavailable));
    let url = serve(routes).await;
    let limits = ["--retry-seconds", "0.1", "--settle-seconds", "0.1"];
    let arguments = ["crowd", "--url", &url, "--voters", "100000"].into_iter().chain(limits);
    let answer = crate::run(&Arguments::parse_from(arguments)).await;
    assert!(answer.is_err(), "the poll cannot be read, either");
}
