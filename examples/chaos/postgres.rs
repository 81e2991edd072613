//! Looks into the database as an auditor would; and breaks what is in it, to see whether the checks find out.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row as _};
use uuid::Uuid;
use voting::history::{Counted, Final, Progress, Row};
use voting::{Failure, failure};

/// All that is read is of one moment.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const POLLS: &str = "SELECT id, voters, tally FROM polls";
const SUMS: &str = "SELECT polls.id, votes.choices, count(*) AS rows \
     FROM votes JOIN polls ON polls.number = votes.poll WHERE choices IS NOT NULL GROUP BY 1, 2";
const ROWS: &str = "SELECT polls.id, voter, vote_id, log_partition, log_offset, choices \
     FROM votes JOIN polls ON polls.number = votes.poll ORDER BY polls.id, voter";
const PROGRESS: &str =
    "SELECT log_partition, next_offset, counted, superseded, duplicate, late, invalid, repeated FROM checkpoints";
/// What the last record was recognised by goes, or it would be missed.
const MOVE: &str = "UPDATE checkpoints SET next_offset = next_offset + $2, last_digest = NULL, digested_offset = NULL \
     WHERE log_partition = $1";
const DOUBLE: &str = "UPDATE polls SET voters = voters + 1, tally[1] = tally[1] + 1, version = version + 1";

/// A session of its own.
pub(crate) struct Session(PgConnection);

#[expect(clippy::needless_pass_by_value, reason = "that is what `map_err` gives")]
fn wrong(error: sqlx::Error) -> Failure {
    failure(format!("the database cannot be looked into: {error}"))
}

/// The tally of each poll, and what its rows add up to.
pub(crate) type Audit = BTreeMap<Uuid, (Counted, Counted)>;

impl Session {
    pub(crate) async fn open(url: &str, schema: &str) -> Result<Self, Failure> {
        let options: PgConnectOptions = url.parse().map_err(wrong)?;
        let options = options.options([("search_path", schema)]);
        options.connect().await.map(Self).map_err(wrong)
    }

    /// Reads everything that the store has kept, of one moment.
    pub(crate) async fn everything(&mut self, state: &mut Final) -> Result<(), Failure> {
        self.run(ONE_MOMENT).await?;
        for row in self.all(POLLS).await? {
            let (poll, totals) = tally(&row).map_err(wrong)?;
            state.tallies.insert(poll, totals);
        }
        let rows: Result<Vec<Row>, sqlx::Error> = self.all(ROWS).await?.iter().map(vote).collect();
        state.rows = rows.map_err(wrong)?;
        state.progress = self.progress().await?;
        self.run("COMMIT").await
    }

    /// Compares the tallies with the rows.
    pub(crate) async fn audit(&mut self) -> Result<Audit, Failure> {
        self.run(ONE_MOMENT).await?;
        let mut audit = Audit::new();
        for row in self.all(POLLS).await? {
            let (poll, kept) = tally(&row).map_err(wrong)?;
            let none = Counted { voters: 0, votes: vec![0; kept.votes.len()] };
            audit.insert(poll, (kept, none));
        }
        for row in self.all(SUMS).await? {
            let read = || {
                Ok::<_, sqlx::Error>((row.try_get("id")?, row.try_get::<Vec<u8>, _>("choices")?, row.try_get::<i64, _>("rows")?))
            };
            let (poll, choices, rows) = read().map_err(wrong)?;
            if let Some((_, sum)) = audit.get_mut::<Uuid>(&poll) {
                (0..rows).for_each(|_| sum.add(&choices));
            }
        }
        self.run("COMMIT").await?;
        Ok(audit)
    }

    /// How far each partition is applied.
    pub(crate) async fn progress(&mut self) -> Result<BTreeMap<u32, Progress>, Failure> {
        let rows: Result<_, sqlx::Error> = self.all(PROGRESS).await?.iter().map(progress).collect();
        rows.map_err(wrong)
    }

    /// Moves a checkpoint by so many records.
    pub(crate) async fn move_checkpoint(&mut self, partition: u32, records: i64) -> Result<(), Failure> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let done = sqlx::query(MOVE).bind(partition).bind(records).execute(&mut self.0).await.map_err(wrong)?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(failure("there was no checkpoint to move".to_owned())) }
    }

    /// Adds to each tally a vote that no row has.
    pub(crate) async fn double(&mut self) -> Result<(), Failure> {
        self.run(DOUBLE).await
    }

    /// Removes everything of the run.
    pub(crate) async fn remove(mut self, schema: &str) -> Result<(), Failure> {
        self.run(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
        self.0.close().await.map_err(wrong)
    }

    pub(crate) async fn run(&mut self, statement: &str) -> Result<(), Failure> {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.0).await.map(drop).map_err(wrong)
    }

    async fn all(&mut self, query: &'static str) -> Result<Vec<PgRow>, Failure> {
        sqlx::query(query).fetch_all(&mut self.0).await.map_err(wrong)
    }
}

fn tally(row: &PgRow) -> Result<(Uuid, Counted), sqlx::Error> {
    let votes: Vec<i64> = row.try_get("tally")?;
    let voters: i64 = row.try_get("voters")?;
    let votes = votes.into_iter().map(i64::unsigned_abs).collect();
    Ok((row.try_get("id")?, Counted { voters: voters.unsigned_abs(), votes }))
}

fn vote(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        poll: row.try_get("id")?,
        voter: row.try_get("voter")?,
        vote_id: row.try_get("vote_id")?,
        partition: row.try_get::<i32, _>("log_partition")?.unsigned_abs(),
        offset: row.try_get("log_offset")?,
        choices: row.try_get::<Option<Vec<u8>>, _>("choices")?.unwrap_or_default(),
    })
}

fn progress(row: &PgRow) -> Result<(u32, Progress), sqlx::Error> {
    let progress = Progress {
        next_offset: row.try_get("next_offset")?,
        counted: row.try_get("counted")?,
        superseded: row.try_get("superseded")?,
        duplicate: row.try_get("duplicate")?,
        late: row.try_get("late")?,
        invalid: row.try_get("invalid")?,
        repeated: row.try_get("repeated")?,
    };
    Ok((row.try_get::<i32, _>("log_partition")?.unsigned_abs(), progress))
}
