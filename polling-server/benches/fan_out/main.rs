//! What it costs to show a poll to very many, against a loop of `write(2)` of as many bytes to as many sockets in the same run.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what is measured is far below any bound")]

mod floor;
#[expect(dead_code, reason = "each bench uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use floor::{FLOOR, serve_floor};
use hdrhistogram::Histogram;
use support::child::{SERVE, Server};
use support::load::{Load, NUMBER, Template, ask};
use support::serving::{Variant, serve};
use support::watchers::{Watchers, hello, hello_to_many, make_poll};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Sockets that watch one poll.
const WATCHERS: [usize; 2] = [2_000, 10_000];
/// Options of the poll: as many as make a frame of some 500 bytes.
const OPTIONS: usize = 19;
/// Turns of the server and the floor; their median is what is told.
const TURNS: usize = 5;
/// Changes of the poll in each turn.
const CHANGES: usize = 20;
/// Between a change that everybody has and the next: longer than frames are held back, so that nothing is conflated.
const PAUSE: Duration = Duration::from_millis(60);
/// Sockets that watch several polls, and how many.
const MULTIPLEXED: usize = 1_000;
const POLLS: [usize; 2] = [1, 100];
/// How long idle sockets are looked at: two pings of each, and their answers, are a part of what they cost.
const IDLE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, variant, folder] = arguments.as_slice()
        && flag == SERVE
    {
        return if variant == FLOOR { serve_floor() } else { serve(variant, folder) };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("Medians of {TURNS} turns of {CHANGES} changes, each shown to every socket.\n");
    println!(
        "| sockets | bytes | server µs/frame | frames/s and core | write(2) µs/frame | ratio | goal | memory KiB/socket | idle CPU % | last of all p50 ms | p99 ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for watchers in WATCHERS {
        LocalSet::new().block_on(&runtime, measure(watchers));
    }
    println!("\n| sockets of `/live` | polls on each | memory KiB/socket | bytes for each poll |");
    println!("| ---: | ---: | ---: | ---: |");
    for polls in POLLS {
        LocalSet::new().block_on(&runtime, measure_multiplexed(polls));
    }
}

async fn measure(count: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start(Variant::Memory, folder.path());
    ask(server.admin, &Template::new("/livez", "")).await;
    let poll = make_poll(&server, OPTIONS).await;
    let body = format!(r#"{{"choices":[1],"voter_id":"voter-{NUMBER}"}}"#);
    let votes = Rc::new(vec![Template::new(&format!("/polls/{poll}/vote"), &body)]);
    let (mut frames, mut floors, mut latency) =
        (Vec::new(), Vec::new(), Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("sound bounds"));
    let (mut memory, mut idle, mut bytes) = (0, Duration::ZERO, 0);
    for turn in 0..TURNS {
        let before = server.resident_bytes();
        let mut watchers = Watchers::new();
        watchers.add(server.api, count, hello(&poll).as_bytes()).await;
        watchers.seen.wait_for(count as u64).await;
        if turn == 0 {
            memory = server.resident_bytes().saturating_sub(before) / count as u64;
            let started = server.processor_time();
            tokio::time::sleep(IDLE).await;
            idle = server.processor_time() - started;
        }
        let mut voting = Load::open(server.api, 1, Rc::clone(&votes), (turn * CHANGES) as u64).await;
        let started = server.processor_time();
        for _ in 0..CHANGES {
            tokio::time::sleep(PAUSE).await;
            let (changed, next) = (Instant::now(), watchers.seen.frames() + count as u64);
            tokio::join!(voting.run(1), watchers.seen.wait_for(next));
            latency.saturating_record(changed.elapsed().as_micros() as u64);
        }
        frames.push(per_frame(server.processor_time() - started, count));
        bytes = watchers.seen.mean_bytes();
        assert_eq!(watchers.len(), count, "none hung up");
        drop(watchers);
        floors.push(floor(count, bytes).await);
    }
    let (frame, floor) = (median(&mut frames), median(&mut floors));
    println!(
        "| {count} | {bytes} | {frame:.2} | {:.0} | {floor:.2} | {:.2} | 0.50 | {:.1} | {:.1} | {:.0} | {:.0} |",
        1e6 / frame,
        floor / frame,
        memory as f64 / 1024.0,
        100.0 * idle.as_secs_f64() / IDLE.as_secs_f64(),
        latency.value_at_quantile(0.5) as f64 / 1e3,
        latency.value_at_quantile(0.99) as f64 / 1e3,
    );
}

async fn measure_multiplexed(polls: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start(Variant::Memory, folder.path());
    let mut ids = Vec::with_capacity(polls);
    for _ in 0..polls {
        ids.push(make_poll(&server, OPTIONS).await);
    }
    let (hello, mut watchers) = (hello_to_many(&ids), Watchers::new());
    // The first has all of them made ready to be shown.
    watchers.add(server.api, 1, &hello).await;
    watchers.seen.wait_for(polls as u64).await;
    let before = server.resident_bytes();
    watchers.add(server.api, MULTIPLEXED, &hello).await;
    watchers.seen.wait_for(((1 + MULTIPLEXED) * polls) as u64).await;
    let memory = server.resident_bytes().saturating_sub(before) as f64 / MULTIPLEXED as f64;
    assert_eq!(watchers.len(), 1 + MULTIPLEXED, "none hung up");
    println!("| {MULTIPLEXED} | {polls} | {:.1} | {:.0} |", memory / 1024.0, memory / polls as f64);
}

/// Microseconds of a frame in the loop of `write(2)`.
async fn floor(count: usize, bytes: u64) -> f64 {
    let server = Server::start_named(FLOOR, std::path::Path::new("none"));
    let mut control = BufStream::new(TcpStream::connect(server.api).await.expect("the floor listens"));
    control.write_all(format!("accept {count}\n").as_bytes()).await.expect("taken");
    control.flush().await.expect("taken");
    let mut watchers = Watchers::new();
    watchers.add(server.api, count, b"").await;
    answered(&mut control).await;
    let started = server.processor_time();
    for _ in 0..CHANGES {
        tokio::time::sleep(PAUSE).await;
        let next = watchers.seen.frames() + count as u64;
        control.write_all(format!("write {bytes}\n").as_bytes()).await.expect("taken");
        control.flush().await.expect("taken");
        tokio::join!(answered(&mut control), watchers.seen.wait_for(next));
    }
    per_frame(server.processor_time() - started, count)
}

async fn answered(control: &mut BufStream<TcpStream>) {
    control.read_line(&mut String::new()).await.expect("answered");
}

fn per_frame(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / (count * CHANGES) as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
