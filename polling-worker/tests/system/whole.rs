//! Two servers, two workers and a crowd that does everything that voters do.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use uuid::Uuid;

use crate::audit::{audit, totals};
use crate::client::Client;
use crate::crowd::{Answer, Ballot, Crowd, create_poll};
use crate::place::Place;
use crate::program::{Server, Worker};
use crate::wait::eventually;
use crate::watcher::Watcher;

crate::tests![TESTS: every_vote_has_its_outcome_and_every_watcher_the_tally];

/// Voters of each poll. Each sends two votes: 20,000 in all, of which the servers know some not to be the first.
const VOTERS: usize = 2_500;
/// Votes of one request.
const REQUEST_VOTES: usize = 250;
/// How long a vote may take through one server, the log, a worker and the bus to a socket of the other server. The aim is 500 ms on
/// a machine that has nothing else to do.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// How often that is measured.
const MEASUREMENTS: usize = 10;

async fn every_vote_has_its_outcome_and_every_watcher_the_tally(place: &Place) {
    let (one, other) = tokio::join!(Server::start(place), Server::start(place));
    let servers = [&one.api, &other.api];
    let mut polls = Vec::new();
    for (server, allow_change) in [(0, false), (1, true), (0, true), (1, false)] {
        polls.push((create_poll(servers[server], 4, allow_change).await, allow_change));
    }
    let mut watchers = Vec::new();
    for server in servers {
        for (poll, _) in &polls {
            watchers.push((server, *poll, Watcher::open(server, &format!("/polls/{poll}/live")).await));
        }
    }
    let boards = [Watcher::open(servers[0], "/leaderboard/live").await, Watcher::open(servers[1], "/leaderboard/live").await];
    // What is sent before there are workers waits for them.
    let crowd = Crowd::default();
    let first = Ballot::new(polls[0].0, "early", 1);
    assert_eq!(crowd.cast_one(servers[0], &first).await, Answer::Acknowledged);
    let _workers = tokio::join!(Worker::start(place), Worker::start(place));

    let voting = Instant::now();
    for (poll, allow_change) in &polls {
        vote(&crowd, servers, *poll, *allow_change).await;
    }
    let voted = voting.elapsed();
    let votes = audit(place, &crowd, &servers).await;
    eprintln!("{} votes in the log after {voted:?}, audited after {:?}", votes.len(), voting.elapsed());
    assert!(votes.len() >= 15_000, "{} votes", votes.len());

    for (server, poll, watcher) in &watchers {
        shows_the_same(server, *poll, watcher).await;
    }
    boards_agree(servers, &boards).await;
    let poll = polls[0].0;
    let watcher = &watchers.iter().find(|(server, watched, _)| server.address() == servers[1].address() && *watched == poll);
    let (_, _, watcher) = watcher.as_ref().expect("it is watched");
    measure(&crowd, servers[0], poll, watcher).await;
}

/// Everybody votes; some send again what they sent, some vote twice, some change their minds, some take their vote back. Every
/// next vote goes through the other server.
async fn vote(crowd: &Crowd, servers: [&Client; 2], poll: Uuid, allow_change: bool) {
    let ballots: Vec<Ballot> = (0..VOTERS).map(|voter| Ballot::new(poll, format!("voter-{voter}"), choice(voter))).collect();
    let mut seconds = Vec::new();
    for (number, ballot) in ballots.iter().enumerate() {
        match number % 5 {
            // The same vote once more.
            0 => seconds.push(ballot.clone()),
            // Another one: a duplicate, or a change.
            1..4 => seconds.push(ballot.then(&[choice(number + 1)])),
            _ => {}
        }
    }
    // Some come at the same time as the first, some much later.
    let requests = ballots.chunks(REQUEST_VOTES).zip(seconds.chunks(REQUEST_VOTES * 4 / 5));
    futures_util::stream::iter(requests)
        .for_each_concurrent(2, async |(firsts, seconds)| {
            let (answers, _) = tokio::join!(crowd.cast(servers[0], firsts), crowd.cast(servers[1], seconds));
            assert!(answers.contains(&Answer::Acknowledged), "{answers:?}");
        })
        .await;
    for chunk in ballots.chunks(REQUEST_VOTES).take(2) {
        crowd.cast(servers[1], chunk).await;
    }
    if allow_change {
        let retracting = ballots.iter().step_by(25).map(|ballot| ballot.then(&[]));
        futures_util::stream::iter(retracting)
            .for_each_concurrent(16, async |ballot| {
                crowd.cast_one(servers[1], &ballot).await;
            })
            .await;
    } else {
        let retraction = ballots[0].then(&[]);
        let answer = crowd.cast_one(servers[0], &retraction).await;
        assert_eq!(answer, Answer::Refused("change-not-allowed".to_owned(), None));
    }
}

fn choice(number: usize) -> u8 {
    [1, 2, 1, 3, 1, 4][number % 6]
}

/// Waits until a watcher has what its server answers.
async fn shows_the_same(server: &Client, poll: Uuid, watcher: &Watcher) {
    let (_, answer) = server.get(&format!("/polls/{poll}")).await;
    let results = &answer["results"];
    let frame = watcher.sees("the final frame", |frame| frame["version"].as_u64() >= results["version"].as_u64()).await;
    assert_eq!(totals(&frame), totals(results));
    assert_eq!((&frame["epoch"], &frame["version"]), (&results["epoch"], &results["version"]));
}

async fn boards_agree(servers: [&Client; 2], boards: &[Watcher; 2]) {
    let entries = eventually("the leaderboards are the same", async || {
        let (one, other) = tokio::join!(servers[0].get("/leaderboard"), servers[1].get("/leaderboard"));
        (one.1["entries"] == other.1["entries"]).then(|| one.1["entries"].clone())
    })
    .await;
    assert_eq!(entries.as_array().map(Vec::len), Some(10));
    for board in boards {
        board.sees("the leaderboard", |frame| entries_now(frame) == entries).await;
    }
}

/// How long votes take from one server to a socket of the other.
async fn measure(crowd: &Crowd, server: &Client, poll: Uuid, watcher: &Watcher) {
    let mut times = Vec::new();
    for number in 0..MEASUREMENTS {
        let (before, _) = totals(&watcher.sees("any frame", |_| true).await);
        let started = Instant::now();
        let ballot = Ballot::new(poll, format!("measured-{number}"), 1);
        assert_eq!(crowd.cast_one(server, &ballot).await, Answer::Acknowledged);
        watcher.sees("the vote", |frame| totals(frame).0 > before).await;
        times.push(started.elapsed());
    }
    times.sort();
    let (median, slowest) = (times[MEASUREMENTS / 2], times[MEASUREMENTS - 1]);
    eprintln!("from one server to a socket of another: median {median:?}, slowest {slowest:?}");
    assert!(slowest < VISIBLE_WITHIN, "{slowest:?}");
}

/// The entries of a frame as they are now: without where each was before, which `GET` does not say.
fn entries_now(frame: &serde_json::Value) -> serde_json::Value {
    let mut entries = frame["entries"].clone();
    for entry in entries.as_array_mut().into_iter().flatten() {
        entry.as_object_mut().and_then(|entry| entry.remove("previous_rank")).expect("every entry says where it was");
    }
    entries
}
