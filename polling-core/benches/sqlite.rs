//! How fast the store in `SQLite` counts, against one plain insert of the same rows.
//!
//! The floor goes into the same table of another file, on a connection with the same settings: one statement with all rows as
//! parameters, in a transaction that is fully synced.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is measured is far below any bound"
)]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use polling_core::checkpoint::Batch;
use polling_core::model::{Choices, Poll, PollId};
use polling_core::store::sqlite::{SqliteOptions, SqliteStore};
use polling_core::store::{PollStore, TallyStore};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use support::{OPTIONS, batches, leaders, polls, quantile, votes_of};

/// Votes of one batch.
const BATCH_VOTES: usize = 1000;
/// Over how many polls the votes are spread, in each table.
const SPREADS: [usize; 2] = [10, 1000];
/// Batches in each table.
const BATCHES: usize = 150;
/// What the store is to reach.
const GOAL: f64 = 0.5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("Medians of {BATCHES} batches of {BATCH_VOTES} votes of new voters, taking turns with the plain insert.\n");
    println!("| polls | votes/s | p50 ms | p99 ms | plain insert, votes/s | ratio | from | to | goal | |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for spread in SPREADS {
        runtime.block_on(measure(spread));
    }
    for (title, votes) in [("all alike", "abs(random()) % 10000"), ("few have most", "1000000 / (1 + abs(random()) % 1000000)")] {
        runtime.block_on(measure_leaders(title, votes));
    }
}

/// The votes of each option are what the expression says.
async fn measure_leaders(title: &str, votes: &str) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("store.db");
    open(&path, &[]).await.shut_down().await;
    let mut connection = connect(&path).await;
    let polls = format!(
        "INSERT INTO polls (number, id, version, voters, max_choices, allow_change, results, owner) \
         WITH RECURSIVE numbers (number) AS (VALUES (1) UNION ALL SELECT number + 1 FROM numbers WHERE number < {}) \
         SELECT number, unhex(printf('%012x70008000000000000000', number)), 1, 0, 1, 0, 'always', zeroblob(32) FROM numbers",
        leaders::POLLS
    );
    let options = format!(
        "WITH RECURSIVE options (option) AS (VALUES (1) UNION ALL SELECT option + 1 FROM options WHERE option < {OPTIONS}) \
         INSERT INTO tallies (poll, option, votes) SELECT number, option, {votes} FROM polls CROSS JOIN options"
    );
    let voters = "UPDATE polls SET voters = (SELECT sum(votes) FROM tallies WHERE poll = number)".to_owned();
    for fill in [polls, options, voters] {
        sqlx::query(AssertSqlSafe(fill)).execute(&mut connection).await.expect("filled");
    }
    connection.close().await.expect("closed");
    let store = open(&path, &[]).await;
    leaders::measure(title, &store).await;
    store.shut_down().await;
}

async fn measure(spread: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let polls = polls(spread);
    let store = open(&folder.path().join("store.db"), &polls).await;
    let plain = folder.path().join("plain.db");
    open(&plain, &polls).await.shut_down().await;
    let mut plain = connect(&plain).await;
    let numbers = polls.iter().map(|poll| poll.id).zip(1..).collect();
    let insert = format!(
        "INSERT INTO votes (poll, voter, vote_id, accepted_at, log_partition, log_offset, choices) VALUES {}",
        ["(?, ?, ?, ?, ?, ?, ?)"; BATCH_VOTES].join(", ")
    );
    let (mut applied, mut floor) = (Vec::new(), Vec::new());
    for batch in batches(&polls, BATCH_VOTES, BATCHES) {
        floor.push(insert_plainly(&mut plain, &insert, &batch, &numbers).await.as_secs_f64());
        let started = Instant::now();
        store.apply(&batch).await.expect("applied");
        applied.push(started.elapsed().as_secs_f64());
    }
    store.shut_down().await;
    let ratios: Vec<f64> = floor.iter().zip(&applied).map(|(floor, applied)| floor / applied).collect();
    let ratio = quantile(&ratios, 0.5);
    println!(
        "| {spread} | {:.0} | {:.1} | {:.1} | {:.0} | {ratio:.2} | {:.2} | {:.2} | {GOAL:.2} | {} |",
        BATCH_VOTES as f64 / quantile(&applied, 0.5),
        quantile(&applied, 0.5) * 1e3,
        quantile(&applied, 0.99) * 1e3,
        BATCH_VOTES as f64 / quantile(&floor, 0.5),
        quantile(&ratios, 0.1),
        quantile(&ratios, 0.9),
        if ratio >= GOAL { "reached" } else { "missed" },
    );
}

/// A new store with these polls, which get the numbers from 1 on.
async fn open(path: &Path, polls: &[Poll]) -> SqliteStore {
    let store = SqliteStore::open(path, SqliteOptions::default()).await.expect("opened");
    for poll in polls {
        store.create(poll).await.expect("created");
    }
    store
}

/// A connection as the store's writer has it.
async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "4000")
        .disable_statement_logging()
        .connect()
        .await
        .expect("opened")
}

async fn insert_plainly(
    connection: &mut SqliteConnection,
    insert: &str,
    batch: &Batch,
    numbers: &HashMap<PollId, i64>,
) -> Duration {
    let started = Instant::now();
    let mut query = sqlx::query(AssertSqlSafe(insert));
    for ((position, _), vote) in batch.positioned().zip(votes_of(batch)) {
        query = query
            .bind(numbers[&vote.poll])
            .bind(vote.voter.0.to_vec())
            .bind(vote.id.0.as_bytes().to_vec())
            .bind(vote.accepted_at.as_micros())
            .bind(i64::from(position.partition.0))
            .bind(position.offset.get())
            .bind(vote.kind.choices().map(Choices::to_bytes));
    }
    let mut transaction = connection.begin().await.expect("begun");
    query.execute(&mut *transaction).await.expect("inserted");
    transaction.commit().await.expect("committed");
    started.elapsed()
}
