//! Memory that the server holds: idle, and with many polls in its store.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what is measured is far below any bound")]

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::path::Path;
use std::rc::Rc;

use polling_core::clock::{Clock, SystemClock};
use polling_core::model::{OwnerKey, PollDraft, PollId};
use polling_core::store::PollStore;
use polling_core::store::sqlite::{SqliteOptions, SqliteStore};
use support::child::{SERVE, Server};
use support::load::{Load, Template, ask};
use support::serving::{Variant, serve};

/// Polls in the store.
const POLLS: usize = 100_000;
/// Polls on a page of the list: the most that a client can ask for.
const PAGE: usize = 100;
/// Connections that read.
const CONNECTIONS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, variant, folder] = arguments.as_slice()
        && flag == SERVE
    {
        return serve(variant, folder);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    println!("| server with SQLite | resident MiB | processor seconds so far |");
    println!("| --- | ---: | ---: |");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let idle = Server::start(Variant::Sqlite, &folder.path().join("empty"));
    // Alive from the start, and answering once it has begun to serve.
    ask(idle.admin, &Template::new("/livez", "")).await;
    ask(idle.api, &Template::new("/polls", "")).await;
    report("idle, no polls", &idle);
    drop(idle);

    let full = folder.path().join("full");
    // A server makes the store and the secret that goes with it.
    let maker = Server::start(Variant::Sqlite, &full);
    ask(maker.admin, &Template::new("/livez", "")).await;
    drop(maker);
    let polls = fill(&full).await;
    let server = Server::start(Variant::Sqlite, &full);
    // Alive from the start, and answering once it has begun to serve.
    ask(server.admin, &Template::new("/livez", "")).await;
    ask(server.api, &Template::new("/polls", "")).await;
    report(&format!("idle, {POLLS} polls of 4 options"), &server);
    list(&server).await;
    report("after a walk through the whole list", &server);
    ask(server.api, &Template::new("/leaderboard", "")).await;
    ask(server.api, &Template::new("/polls?sort=votes", "")).await;
    report("after the leaderboard and the polls by votes", &server);
    let reads: Vec<Template> = polls.iter().map(|poll| Template::new(&format!("/polls/{poll}"), "")).collect();
    let mut load = Load::open(server.api, CONNECTIONS, Rc::new(reads), 0).await;
    load.run(POLLS as u64).await;
    report("after reading each poll once", &server);
    let seconds = load.run(POLLS as u64).await;
    report("after reading each poll twice", &server);
    println!(
        "\nThe last {} reads: {:.0}/s, p99 {:.1} ms.",
        load.next_number() / 2,
        POLLS as f64 / seconds.duration.as_secs_f64(),
        seconds.latency.value_at_quantile(0.99) as f64 / 1000.0
    );
}

fn report(state: &str, server: &Server) {
    let mebibytes = server.resident_bytes() as f64 / (1024.0 * 1024.0);
    println!("| {state} | {mebibytes:.0} | {:.2} |", server.processor_time().as_secs_f64());
}

/// Makes a store with the polls in the folder, as its server would.
async fn fill(folder: &Path) -> Vec<PollId> {
    let store = SqliteStore::open(&folder.join("polls.db"), SqliteOptions::default()).await.expect("opened");
    let mut polls = Vec::with_capacity(POLLS);
    for number in 0..POLLS {
        let draft = PollDraft {
            question: format!("Which one of these would you like, for the {number}th time?"),
            options: (1..=4).map(|option| format!("The option {option}")).collect(),
            ..PollDraft::default()
        };
        let poll = draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound");
        store.create(&poll).await.expect("created");
        polls.push(poll.id);
    }
    store.shut_down().await;
    polls
}

/// Reads the list from its first page to its last.
async fn list(server: &Server) {
    let mut target = format!("/polls?limit={PAGE}");
    loop {
        let page = ask(server.api, &Template::new(&target, "")).await;
        let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        target = format!("/polls?limit={PAGE}&cursor={cursor}");
    }
}
