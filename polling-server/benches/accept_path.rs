//! Processor time that the server takes for a request, against floors that are measured in the same run.
//!
//! Words after `--` choose the ratios that are measured: those with all of them in their name.
//!
//! Each server is a process of its own, so the system tells what it alone took. All of them live through the whole run, and
//! take turns: what else happens on the machine then hits floor and server alike.
//!
//! What Kafka costs a server is measured on brokers that librdkafka brings along, as processes of their own. Where `KAFKA_BROKERS` and
//! `DATABASE_URL` name a cluster, a server of that is among them too; brokers on the same machine take most of it, and what a vote then
//! costs the server says as much about them. That server makes two topics and a schema there, whose
//! names begin with `bench`, and leaves them.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what is measured is far below any bound")]

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;

use support::child::{SERVE, Server};
use support::kafka::{BROKERS, serve_brokers};
use support::load::{Load, NUMBER, Template, ask};
use support::serving::{Variant, cluster, serve};

/// That of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Connections that are kept alive: enough that the server always has something to do.
const CONNECTIONS: usize = 256;
/// Requests before those that are measured, in each turn.
const REQUESTS_WARMING: u64 = 3_000;
/// Requests that are measured in each turn: short, so that what disturbs the machine hits the floor and its subject alike.
const REQUESTS_MEASURED: u64 = 20_000;
/// Turns of every server, at least: their median is what is told.
const ROUNDS_MIN: usize = 5;
/// Turns when there is time for them.
const ROUNDS_MAX: usize = 25;
/// When no further turns begin.
const TIME_MAX: Duration = Duration::from_secs(150);
/// Polls that the votes are spread over.
const POLLS: usize = 10;
/// The first segment of the paths of polls.
const VOTED: &str = "polls";
/// That of paths that are as long, and that the server answers by a constant.
const CONSTANT: &str = "fixed";
/// Options of each.
const OPTIONS: usize = 4;

/// What one turn of a server measured.
struct Turn {
    /// Of the server, for a request.
    microseconds: f64,
    requests_per_second: f64,
    p50: Duration,
    p99: Duration,
    /// Votes of one transaction, where there are any.
    votes_per_transaction: Option<f64>,
}

/// A row of the table: requests of one kind to one server.
struct Subject {
    title: &'static str,
    server: Rc<Server>,
    templates: Rc<Vec<Template>>,
    next_number: u64,
    turns: Vec<Turn>,
}

/// A ratio that is to be reached.
#[derive(Clone, Copy)]
struct Goal {
    title: &'static str,
    floor: usize,
    subject: usize,
    ratio: f64,
}

const GOALS: [Goal; 7] = [
    Goal { title: "our accept loop ÷ hyper alone", floor: 0, subject: 1, ratio: 0.65 },
    Goal { title: "vote, acknowledged at once ÷ constant", floor: 2, subject: 3, ratio: 0.88 },
    Goal { title: "vote, counted in memory ÷ constant", floor: 2, subject: 4, ratio: 0.58 },
    Goal { title: "vote, counted in SQLite with full sync ÷ constant", floor: 2, subject: 5, ratio: 0.33 },
    Goal { title: "cached poll ÷ constant", floor: 6, subject: 7, ratio: 0.85 },
    Goal { title: "vote, in Kafka ÷ constant", floor: 2, subject: 8, ratio: 0.58 },
    Goal { title: "vote, in Kafka on real brokers beside it ÷ constant", floor: 2, subject: 9, ratio: 0.58 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, variant, folder] = arguments.as_slice()
        && flag == SERVE
    {
        return serve(variant, folder);
    }
    if arguments == [BROKERS] {
        return serve_brokers();
    }
    // Cargo adds one of its own.
    let words = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let goals: Vec<Goal> =
        GOALS.into_iter().filter(|goal| words.clone().all(|word| goal.title.contains(word.as_str()))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let subjects = runtime.block_on(measure(&goals));
    print_subjects(&subjects);
    print_goals(&subjects, &goals);
}

/// Measures what the goals are about.
async fn measure(goals: &[Goal]) -> Vec<Subject> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let start = |variant: Variant| Rc::new(Server::start(variant, &folder.path().join(variant.name())));
    let [hyper, accept_loop, constant] = [Variant::Hyper, Variant::AcceptLoop, Variant::Constant].map(start);
    let [unrecorded, memory, sqlite] = [Variant::Unrecorded, Variant::Memory, Variant::Sqlite].map(start);
    let kafka_client = start(Variant::KafkaClient);
    let polls = make_polls(&unrecorded).await;
    let votes = |paths: &str, polls: &[String]| Rc::new(votes(paths, polls));
    let reads = |paths: &str| Rc::new(polls.iter().map(|poll| Template::new(&format!("/{paths}/{poll}"), "")).collect());
    let (constant_votes, constant_reads) = (votes(CONSTANT, &polls), reads(CONSTANT));
    let subject = |title, server: &Rc<Server>, templates: &Rc<Vec<Template>>| Subject {
        title,
        server: Rc::clone(server),
        templates: Rc::clone(templates),
        next_number: 0,
        turns: Vec::new(),
    };
    let mut subjects = vec![
        subject("constant, hyper alone", &hyper, &constant_votes),
        subject("constant, our accept loop", &accept_loop, &constant_votes),
        subject("constant, our server", &constant, &constant_votes),
        subject("vote, acknowledged at once", &unrecorded, &votes(VOTED, &polls)),
        subject("vote, counted in memory", &memory, &votes(VOTED, &make_polls(&memory).await)),
        subject("vote, counted in SQLite", &sqlite, &votes(VOTED, &make_polls(&sqlite).await)),
        subject("constant, our server, GET", &constant, &constant_reads),
        subject("cached poll, GET", &unrecorded, &reads(VOTED)),
        subject("vote, in Kafka", &kafka_client, &votes(VOTED, &make_polls(&kafka_client).await)),
    ];
    if cluster().is_some() {
        let kafka = start(Variant::Kafka);
        subjects.push(subject("vote, in Kafka on real brokers", &kafka, &votes(VOTED, &make_polls(&kafka).await)));
    }
    let started = Instant::now();
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS_MIN && started.elapsed() > TIME_MAX {
            break;
        }
        for (number, subject) in subjects.iter_mut().enumerate() {
            if goals.iter().any(|goal| [goal.floor, goal.subject].contains(&number)) {
                subject.take_turn().await;
            }
        }
    }
    subjects
}

/// Creates the polls and answers their identifiers.
async fn make_polls(server: &Server) -> Vec<String> {
    let options: Vec<String> = (1..=OPTIONS).map(|option| format!("The option {option}")).collect();
    let body = serde_json::json!({ "question": "Which one of these would you like?", "options": options }).to_string();
    let mut polls = Vec::new();
    for _ in 0..POLLS {
        let answer = ask(server.api, &Template::new("/polls", &body)).await;
        let created: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        polls.push(created["id"].as_str().expect("it has an identifier").to_owned());
    }
    polls
}

/// A vote for each option of each poll under these paths, every time by another voter.
fn votes(paths: &str, polls: &[String]) -> Vec<Template> {
    let body = |option: usize| {
        format!(r#"{{"choices":[{option}],"voter_id":"voter-{NUMBER}","vote_id":"00000000-0000-4000-8000-{NUMBER}"}}"#)
    };
    let of_poll = |poll: &String| {
        let target = format!("/{paths}/{poll}/vote");
        (1..=OPTIONS).map(move |option| Template::new(&target, &body(option)))
    };
    polls.iter().flat_map(of_poll).collect()
}

impl Subject {
    async fn take_turn(&mut self) {
        let mut load = Load::open(self.server.api, CONNECTIONS, Rc::clone(&self.templates), self.next_number).await;
        load.run(REQUESTS_WARMING).await;
        let batches_before = self.batches().await;
        let time_before = self.server.processor_time();
        let measured = load.run(REQUESTS_MEASURED).await;
        let time = self.server.processor_time() - time_before;
        let batches = self.batches().await;
        self.next_number = load.next_number();
        let quantile = |quantile| Duration::from_micros(measured.latency.value_at_quantile(quantile));
        self.turns.push(Turn {
            microseconds: time.as_secs_f64() * 1e6 / REQUESTS_MEASURED as f64,
            requests_per_second: REQUESTS_MEASURED as f64 / measured.duration.as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            votes_per_transaction: (batches.1 > batches_before.1)
                .then(|| (batches.0 - batches_before.0) / (batches.1 - batches_before.1)),
        });
    }

    /// Votes that were counted, and transactions that it took; zero for a server that does not tell.
    async fn batches(&self) -> (f64, f64) {
        if self.server.admin == self.server.api {
            return (0.0, 0.0);
        }
        let metrics = ask(self.server.admin, &Template::new("/metrics", "")).await;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map_or(0.0, |value| value.parse().expect("a number"))
        };
        (value("polling_batch_records_sum"), value("polling_batch_records_count"))
    }

    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_subjects(subjects: &[Subject]) {
    let measured = || subjects.iter().filter(|subject| !subject.turns.is_empty());
    let turns = measured().next().map_or(0, |subject| subject.turns.len());
    println!("Medians of {turns} turns of {REQUESTS_MEASURED} requests, {CONNECTIONS} connections.\n");
    println!("| request | server µs | answers/s | p50 ms | p99 ms | votes/transaction | resident MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for subject in measured() {
        let milliseconds = |of: fn(&Turn) -> Duration| subject.median(|turn| of(turn).as_secs_f64() * 1e3);
        let votes = subject.turns[0].votes_per_transaction;
        let votes = votes.map(|_| format!("{:.0}", subject.median(|turn| turn.votes_per_transaction.unwrap_or(0.0))));
        println!(
            "| {} | {:.2} | {:.0} | {:.1} | {:.1} | {} | {:.0} |",
            subject.title,
            subject.median(|turn| turn.microseconds),
            subject.median(|turn| turn.requests_per_second),
            milliseconds(|turn| turn.p50),
            milliseconds(|turn| turn.p99),
            votes.unwrap_or_default(),
            subject.server.resident_bytes() as f64 / (1024.0 * 1024.0),
        );
    }
}

/// A ratio is that of two turns of the same round; what is told is the median of those and the quartiles.
fn print_goals(subjects: &[Subject], goals: &[Goal]) {
    println!("\n| ratio | goal | measured | from | to | |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    for &Goal { title, floor, subject, ratio } in goals.iter().filter(|goal| goal.subject < subjects.len()) {
        let pairs = subjects[floor].turns.iter().zip(&subjects[subject].turns);
        let mut ratios: Vec<f64> = pairs.map(|(floor, subject)| floor.microseconds / subject.microseconds).collect();
        ratios.sort_by(f64::total_cmp);
        let measured = median(ratios.clone());
        let verdict = if measured >= ratio { "reached" } else { "missed" };
        let (from, to) = (ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4]);
        println!("| {title} | {ratio:.2} | {measured:.2} | {from:.2} | {to:.2} | {verdict} |");
    }
}
