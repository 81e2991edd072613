//! What a vote costs this process on its way into Kafka, against the same records from a producer whose reports nobody reads.
//!
//! The brokers are those that librdkafka brings along, in a process of their own, so that only the client's processor time is
//! counted. There is no disk and no replica: what is compared is the client and nothing else.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is measured is far below any bound"
)]

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use polling_core::kafka::Cluster;
use polling_core::model::{Vote, codec};
use polling_core::sink::VoteSink;
use polling_core::sink::kafka::KafkaSink;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rustix::time::{ClockId, clock_gettime};
use support::{batches, polls, quantile, votes_of};

/// Votes that wait for their acknowledgement at the same time, as on a busy server.
const WAITING: usize = 2000;
/// Waves of waiting votes in each round.
const WAVES: usize = 25;
const ROUNDS: usize = 15;
const PARTITIONS: i32 = 12;
const TOPIC: &str = "votes";

fn main() {
    // Run by itself, below.
    if std::env::args().any(|argument| argument == "brokers") {
        let brokers = MockCluster::new(3).expect("brokers");
        brokers.create_topic(TOPIC, PARTITIONS, 3).expect("a topic");
        println!("{}", brokers.bootstrap_servers());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("until the parent goes");
        return;
    }
    let program = std::env::current_exe().expect("a program");
    let brokers = Command::new(program).arg("brokers").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut brokers = brokers.expect("brokers start");
    let mut address = String::new();
    BufReader::new(brokers.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
    measure(address.trim());
    drop(brokers.stdin.take());
    brokers.wait().expect("brokers end");
}

fn measure(address: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sink = KafkaSink::open(&Cluster::new(address), TOPIC, 100_000).expect("opened");
    let floor: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .expect("a producer");
    let votes: Vec<Vote> = batches(&polls(1000), WAITING, WAVES).iter().flat_map(votes_of).copied().collect();
    let (mut sinks, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        floors.push(micros_of(&votes, || {
            for wave in votes.chunks(WAITING) {
                for vote in wave {
                    let bytes = codec::encode(vote);
                    let record = BaseRecord::to(TOPIC).key(&vote.voter.0).payload(&bytes);
                    floor.send(record).map_err(|(error, _)| error).expect("sent");
                }
                floor.flush(Duration::from_secs(30)).expect("written");
            }
        }));
        sinks.push(micros_of(&votes, || {
            for wave in votes.chunks(WAITING) {
                let answers = runtime.block_on(join_all(wave.iter().map(|&vote| sink.record(vote))));
                assert!(answers.iter().all(Result::is_ok), "a vote is missing");
            }
        }));
    }
    // The first round connects and warms up.
    let ratios: Vec<f64> = floors.iter().zip(&sinks).skip(1).map(|(floor, sink)| sink / floor).collect();
    println!("Medians of {ROUNDS} rounds of {} votes, {WAITING} of them waiting at a time, taking turns.\n", votes.len());
    println!("| | processor time, µs per vote |");
    println!("| --- | ---: |");
    println!("| sink | {:.2} |", quantile(&sinks[1..], 0.5));
    println!("| producer whose reports nobody reads | {:.2} |", quantile(&floors[1..], 0.5));
    println!("| sink ÷ producer | {:.2} |", quantile(&ratios, 0.5));
}

/// The processor time of this process in all its threads, for each vote.
fn micros_of(votes: &[Vote], work: impl FnOnce()) -> f64 {
    let seconds = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let started = seconds();
    work();
    (seconds() - started) * 1e6 / votes.len() as f64
}
