//! How fast the store in PostgreSQL counts, against a plain binary COPY of the same rows into the same table.
//!
//! The server is the one that `DATABASE_URL` names. It must sync what it commits, or the figures say nothing.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below any bound")]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polling_core::checkpoint::Batch;
use polling_core::model::{Choices, Poll, PollId};
use polling_core::store::postgres::{PostgresOptions, PostgresStore};
use polling_core::store::{PollStore, TallyStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use support::{OPTIONS, batches, leaders, polls, quantile, votes_of};

/// Votes of one batch.
const BATCH_VOTES: usize = 5000;
/// Batches that are measured.
const BATCHES: usize = 60;
/// Batches before: until plans are made and files are as long as they need to be.
const WARM_UP: usize = 10;

/// What is measured.
struct Case {
    name: &'static str,
    polls: usize,
    /// Whether the polls had votes when the store was opened, so that every voter may have voted before.
    maybe_seen: bool,
    /// Votes of other polls that are in the table already, of both sides.
    preloaded: u32,
    goal: f64,
}

const CASES: [Case; 4] = [
    Case { name: "new voters", polls: 1000, maybe_seen: false, preloaded: 0, goal: 0.55 },
    Case { name: "new voters", polls: 50, maybe_seen: false, preloaded: 0, goal: 0.80 },
    Case { name: "any voter may have voted", polls: 1000, maybe_seen: true, preloaded: 0, goal: 0.35 },
    Case { name: "new voters, beside 10,000,000 votes", polls: 50, maybe_seen: false, preloaded: 10_000_000, goal: 0.80 },
];

fn main() {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        println!("DATABASE_URL names no server to measure against.");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("Medians of {BATCHES} batches of {BATCH_VOTES} votes, taking turns with COPY.\n");
    println!("| votes | polls | votes/s | p50 ms | p99 ms | COPY, votes/s | ratio | from | to | goal | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for case in CASES {
        runtime.block_on(measure(&url, &case));
    }
    for (title, votes) in
        [("all alike", "floor(random() * 10000)"), ("few have most", "floor(1000000 / (1 + floor(random() * 1000000)))")]
    {
        runtime.block_on(measure_leaders(&url, title, votes));
    }
}

/// The votes of each option are what the expression says.
async fn measure_leaders(url: &str, title: &str, votes: &str) {
    let (schema, polls) = ("bench_leaders", leaders::POLLS);
    remove(url, schema).await;
    let store = open(&options(url, schema), &[]).await;
    let mut connection = connect(url, schema).await;
    let tally = [votes; OPTIONS].join(", ");
    let fill = format!(
        "INSERT INTO polls (id, voters, max_choices, allow_change, results, tally) \
         SELECT (lpad(to_hex(number), 12, '0') || '70008000000000000000')::uuid, 0, 1, false, 'always', \
         ARRAY[{tally}]::bigint[] FROM generate_series(1, {polls}) AS number"
    );
    let voters = "UPDATE polls SET voters = (SELECT sum(votes) FROM unnest(tally) AS votes)";
    for statement in [fill.as_str(), voters, "VACUUM FULL ANALYZE polls", "CHECKPOINT"] {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect("filled");
    }
    leaders::measure(title, &store).await;
    store.shut_down().await;
    remove(url, schema).await;
}

async fn measure(url: &str, case: &Case) {
    let polls = polls(case.polls);
    let options = options(url, "bench_store");
    remove(url, "bench_store").await;
    let mut store = open(&options, &polls).await;
    let (batches, prior) = (batches(&polls, BATCH_VOTES, WARM_UP + BATCHES + 1), usize::from(case.maybe_seen));
    if case.maybe_seen {
        // A batch touches nearly every poll. Then a store that knows nothing goes on.
        store.apply(&batches[0]).await.expect("applied");
        store = PostgresStore::open(&options).await.expect("opened");
    }
    remove(url, "bench_plain").await;
    open(&self::options(url, "bench_plain"), &[]).await.shut_down().await;
    let mut plain = connect(url, "bench_plain").await;
    for schema in ["bench_store", "bench_plain"] {
        preload(url, schema, case.preloaded).await;
    }
    let numbers: HashMap<PollId, i64> = polls.iter().map(|poll| poll.id).zip(1..).collect();
    let (mut applied, mut floor) = (Vec::new(), Vec::new());
    for batch in batches.iter().skip(prior).take(WARM_UP + BATCHES) {
        floor.push(copy_plainly(&mut plain, &encode(batch, &numbers)).await.as_secs_f64());
        let started = Instant::now();
        store.apply(batch).await.expect("applied");
        applied.push(started.elapsed().as_secs_f64());
    }
    store.shut_down().await;
    for schema in ["bench_store", "bench_plain"] {
        remove(url, schema).await;
    }
    print(case, &applied[WARM_UP..], &floor[WARM_UP..]);
}

fn print(case: &Case, applied: &[f64], floor: &[f64]) {
    let ratios: Vec<f64> = floor.iter().zip(applied).map(|(floor, applied)| floor / applied).collect();
    let ratio = quantile(&ratios, 0.5);
    println!(
        "| {} | {} | {:.0} | {:.1} | {:.1} | {:.0} | {ratio:.2} | {:.2} | {:.2} | {:.2} | {} |",
        case.name,
        case.polls,
        BATCH_VOTES as f64 / quantile(applied, 0.5),
        quantile(applied, 0.5) * 1e3,
        quantile(applied, 0.99) * 1e3,
        BATCH_VOTES as f64 / quantile(floor, 0.5),
        quantile(&ratios, 0.1),
        quantile(&ratios, 0.9),
        case.goal,
        if ratio >= case.goal { "reached" } else { "missed" },
    );
}

fn options(url: &str, schema: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(url).expect("DATABASE_URL is a URL");
    schema.clone_into(&mut options.schema);
    options
}

/// A new store with these polls.
async fn open(options: &PostgresOptions, polls: &[Poll]) -> PostgresStore {
    let store = PostgresStore::open(options).await.expect("opened");
    for poll in polls {
        store.create(poll).await.expect("created");
    }
    store
}

async fn connect(url: &str, schema: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("DATABASE_URL is a URL");
    options.options([("search_path", schema)]).disable_statement_logging().connect().await.expect("connected")
}

async fn remove(url: &str, schema: &str) {
    let mut connection = connect(url, "public").await;
    let remove = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
    sqlx::query(remove).execute(&mut connection).await.expect("removed");
}

/// Fills the table with votes of polls that take none any more, and has the server write down all that it still has to.
async fn preload(url: &str, schema: &str, votes: u32) {
    if votes == 0 {
        return;
    }
    let mut connection = connect(url, schema).await;
    let fill = format!(
        "INSERT INTO votes (poll, accepted_at, log_offset, log_partition, voter, vote_id, choices) \
         SELECT 1000000 + number / 2000, 1, number, 1, gen_random_uuid(), gen_random_uuid(), '\\x01' \
         FROM generate_series(1, {votes}) AS number"
    );
    for statement in [fill.as_str(), "VACUUM ANALYZE votes", "CHECKPOINT"] {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect("filled");
    }
}

async fn copy_plainly(connection: &mut PgConnection, rows: &[u8]) -> Duration {
    let started = Instant::now();
    let mut copy = connection
        .copy_in_raw(
            "COPY votes (poll, accepted_at, log_offset, log_partition, voter, vote_id, choices) FROM STDIN (FORMAT binary)",
        )
        .await
        .expect("begun");
    copy.send(rows).await.expect("sent");
    copy.finish().await.expect("copied");
    started.elapsed()
}

/// The rows in the binary form of COPY, made before the clock starts.
fn encode(batch: &Batch, numbers: &HashMap<PollId, i64>) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for ((position, _), vote) in batch.positioned().zip(votes_of(batch)) {
        bytes.extend(7_i16.to_be_bytes());
        let choices = vote.kind.choices().map(Choices::to_bytes).expect("a vote with choices");
        let fields: [&[u8]; 7] = [
            &numbers[&vote.poll].to_be_bytes(),
            &vote.accepted_at.as_micros().to_be_bytes(),
            &position.offset.get().to_be_bytes(),
            &position.partition.0.to_be_bytes(),
            &vote.voter.0,
            vote.id.0.as_bytes(),
            &choices,
        ];
        for field in fields {
            bytes.extend((field.len() as u32).to_be_bytes());
            bytes.extend(field);
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}
