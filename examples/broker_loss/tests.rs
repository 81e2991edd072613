//! The demonstration against two small servers with one memory, which a command takes away and brings back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::arguments::Arguments;

struct Memory {
    /// While this file exists, votes are answered by 503.
    away: PathBuf,
    /// Every tenth vote is acknowledged and forgotten.
    is_lossy: bool,
    /// What each voter chose.
    votes: HashMap<String, u64>,
    requests: u64,
}

type Shared = Arc<Mutex<Memory>>;

async fn show(State(shared): State<Shared>) -> Json<Value> {
    let mut options = [0_u64; 2];
    for choice in shared.lock().expect("whole").votes.values() {
        options[usize::try_from(*choice).expect("small") - 1] += 1;
    }
    let options: Vec<Value> = options.iter().map(|votes| json!({ "votes": votes })).collect();
    let results = json!({ "voters": 0, "options": options });
    Json(json!({"id": Uuid::nil(), "max_choices": 1, "allow_change": false, "results": results}))
}

async fn vote(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut memory = shared.lock().expect("whole");
    memory.requests += 1;
    let is_even = memory.requests.is_multiple_of(2);
    let voter = body["voter_id"].as_str().expect("text").to_owned();
    let is_away = memory.away.exists();
    // Of those that come meanwhile, every other one is recorded, and the answer says so.
    if !(is_away && is_even || memory.is_lossy && memory.requests.is_multiple_of(10)) {
        let choice = body["choices"][0].as_u64().expect("a number");
        memory.votes.entry(voter.clone()).or_insert(choice);
    }
    if is_away {
        let recorded = if is_even { "no" } else { "unknown" };
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "recorded": recorded }))).into_response();
    }
    (StatusCode::ACCEPTED, Json(json!({"status": "pending", "receipt": voter, "vote_id": ""}))).into_response()
}

async fn receipt(State(shared): State<Shared>, UrlPath(voter): UrlPath<String>) -> Json<Value> {
    let status = if shared.lock().expect("whole").votes.contains_key(&voter) { "counted" } else { "pending" };
    Json(json!({ "status": status }))
}

/// Serves until the runtime of the test ends; answers the URL.
async fn serve(shared: Shared) -> String {
    let routes = Router::new()
        .route("/polls", post(show))
        .route("/polls/{id}", get(show))
        .route("/polls/{id}/vote", post(vote))
        .route("/receipts/{receipt}", get(receipt))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// Takes both servers away and back; answers whether all was as promised, and how many votes are counted.
async fn run(folder: &Path, is_lossy: bool, settle_seconds: &str) -> (bool, usize) {
    let away = folder.join("away");
    let shared: Shared = Arc::new(Mutex::new(Memory { away: away.clone(), is_lossy, votes: HashMap::new(), requests: 0 }));
    let urls = [serve(Arc::clone(&shared)).await, serve(Arc::clone(&shared)).await];
    let (kill, revive) = (format!("touch '{}'", away.display()), format!("rm '{}'", away.display()));
    let arguments = Arguments::parse_from([
        "broker_loss",
        "--url",
        &urls[0],
        "--url",
        &urls[1],
        "--watchers",
        "0",
        "--polls",
        "1",
        "--options",
        "2",
        "--calm-seconds",
        "4",
        "--down-seconds",
        "1",
        "--recover-seconds",
        settle_seconds,
        "--kill",
        &kill,
        "--revive",
        &revive,
    ]);
    let held = crate::run(&arguments).await.expect("it runs");
    let counted = shared.lock().expect("whole").votes.len();
    (held, counted)
}

#[tokio::test]
async fn votes_of_an_outage_are_sent_again_until_each_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (held, counted) = run(folder.path(), false, "30").await;
    assert!(held);
    assert!(counted > 100, "{counted} votes were counted");
}

#[tokio::test]
async fn servers_that_forget_what_they_acknowledged_are_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (held, _) = run(folder.path(), true, "2").await;
    assert!(!held);
}
