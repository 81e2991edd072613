//! What readers that misbehave cost those who behave: the time from a vote to its frame, beside each kind of them in the same run.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what is measured is far below any bound")]

mod crowd;
#[expect(dead_code, reason = "each bench uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use crowd::{Crowd, Kind};
use hdrhistogram::Histogram;
use support::child::{SERVE, Server};
use support::load::{Load, NUMBER, Template, ask};
use support::serving::{Variant, serve};
use support::watchers::{Watchers, hello, make_poll};
use tokio::task::LocalSet;
use tokio::time::sleep_until;

/// Those who behave.
const WATCHERS: usize = 1_000;
/// Options of the poll: as many as make a frame of some 500 bytes.
const OPTIONS: usize = 19;
/// Votes beside each kind.
const CHANGES: usize = 200;
/// Between two votes: longer than frames are held back and take, so that nothing is conflated.
const PERIOD: Duration = Duration::from_millis(100);
/// Without a vote for so long, a poll is not shown any more without asking the store.
const SILENCE: Duration = Duration::from_secs(3);
/// So many votes after it was called, a crowd is called again, if it has come.
const BURST_EVERY: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, variant, folder] = arguments.as_slice()
        && flag == SERVE
    {
        return serve(variant, folder);
    }
    println!("{WATCHERS} sockets that behave, {CHANGES} votes in each row, SQLite.\n");
    println!(
        "| beside them | votes timed | p50 ms | p99 ms | longest ms | p99 ÷ alone | goal | server MiB more | at most MiB more | polls read for a crowd after a silence | goal | in all |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, measure());
}

async fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start(Variant::Sqlite, folder.path());
    let poll = make_poll(&server, OPTIONS).await;
    let hello = hello(&poll);
    let body = format!(r#"{{"choices":[1],"voter_id":"voter-{NUMBER}"}}"#);
    let votes = Rc::new(vec![Template::new(&format!("/polls/{poll}/vote"), &body)]);
    let mut voting = Load::open(server.api, 1, votes, 0).await;
    let mut watchers = Watchers::new();
    watchers.add(server.api, WATCHERS, hello.as_bytes()).await;
    watchers.seen.wait_for(WATCHERS as u64).await;
    vote(&watchers, &mut voting, None).await;
    let mut alone = 0.0;
    for kind in Kind::ALL {
        let (memory, reads) = (server.resident_bytes(), reads(&server).await);
        server.forget_peak();
        let mut crowd = Crowd::start(kind, server.api, hello.clone());
        let times = vote(&watchers, &mut voting, Some(&mut crowd).filter(|_| kind.comes_at_once())).await;
        let mut read_at_once = " | ".to_owned();
        if kind.comes_at_once() {
            crowd.wait().await;
            tokio::time::sleep(SILENCE).await;
            let before = self::reads(&server).await;
            crowd.burst();
            crowd.wait().await;
            read_at_once = format!("{} | 1", self::reads(&server).await - before);
        }
        drop(crowd);
        assert_eq!(watchers.len(), WATCHERS, "none of them was cut off");
        let read = self::reads(&server).await - reads;
        let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        if kind == Kind::Nobody {
            alone = millis(0.99);
        }
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.2} | 2.00 | {:.1} | {:.1} | {read_at_once} | {read} |",
            kind.name(),
            times.len() / WATCHERS as u64,
            millis(0.5),
            millis(0.99),
            millis(1.0),
            millis(0.99) / alone,
            mebibytes_more(server.resident_bytes(), memory),
            mebibytes_more(server.peak_bytes(), memory),
        );
    }
}

/// Microseconds from the time of each vote to each frame of those who behave; with a crowd that comes again and again, from the votes
/// during which it is coming. A vote that has to wait for the frames of the one before has had its time all the same.
async fn vote(watchers: &Watchers, voting: &mut Load, mut crowd: Option<&mut Crowd>) -> Histogram<u64> {
    let mut due = Instant::now();
    for change in 0..CHANGES {
        due += PERIOD;
        sleep_until(due.into()).await;
        let is_timed = crowd.as_mut().is_none_or(|crowd| {
            if change % BURST_EVERY == 0 {
                crowd.burst();
            }
            crowd.is_coming()
        });
        watchers.seen.time(is_timed.then_some(due));
        let next = watchers.seen.frames() + WATCHERS as u64;
        tokio::join!(voting.run(1), watchers.seen.wait_for(next));
    }
    watchers.seen.take_times()
}

/// Polls that the server has read from its store so far.
async fn reads(server: &Server) -> u64 {
    let metrics = ask(server.admin, &Template::new("/metrics", "")).await;
    let count = metrics.lines().find_map(|line| line.strip_prefix("polling_poll_reads_total "));
    count.map_or(0, |count| count.parse().expect("a number"))
}

fn mebibytes_more(now: u64, before: u64) -> f64 {
    (now as f64 - before as f64) / f64::from(1 << 20)
}
