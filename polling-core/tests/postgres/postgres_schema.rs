//! A schema of its own for each store under test, and what an auditor finds in it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use polling_core::conformance::StoreUnderTest;
use polling_core::store::postgres::{PostgresOptions, PostgresStore};
use polling_core::store::{PollStore, TallyStore};
use sqlx::postgres::{PgConnectOptions, Postgres};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// A place on the server where a test may do as it likes.
#[derive(Clone)]
pub(crate) struct Place {
    url: String,
    schemas: Arc<Mutex<Vec<String>>>,
}

impl Place {
    pub(crate) fn new(url: String) -> Self {
        Self { url, schemas: Arc::default() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Options for a schema that is not there yet.
    pub(crate) fn options(&self) -> PostgresOptions {
        let schema = format!("test_{}", uuid::Uuid::new_v4().simple());
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner).push(schema.clone());
        let mut options = PostgresOptions::new(&self.url).expect("the URL of the server");
        options.schema = schema;
        // Containers for tests run without syncing.
        options.accept_lossy_server = true;
        options
    }

    /// A store in a schema of its own.
    pub(crate) async fn store(&self) -> (Arc<PostgresStore>, PostgresOptions) {
        let options = self.options();
        (open(&options).await, options)
    }

    /// The same, for a suite.
    pub(crate) async fn under_test(&self) -> StoreUnderTest {
        let (store, options) = self.store().await;
        under_test(store, options)
    }

    /// Removes all that was made.
    pub(crate) async fn remove(&self) {
        let schemas = std::mem::take(&mut *self.schemas.lock().unwrap_or_else(PoisonError::into_inner));
        let mut session = Session::open(&self.url, "public").await;
        for schema in schemas {
            session.run(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await;
        }
    }
}

pub(crate) async fn open(options: &PostgresOptions) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::open(options).await.expect("the store is opened"))
}

fn under_test(store: Arc<PostgresStore>, options: PostgresOptions) -> StoreUnderTest {
    let (polls, tallies) = (Arc::clone(&store) as Arc<dyn PollStore>, store as Arc<dyn TallyStore>);
    let reopen = Box::new(move || -> Pin<Box<dyn Future<Output = StoreUnderTest> + Send>> {
        Box::pin(async move { under_test(open(&options).await, options) })
    });
    StoreUnderTest { polls, tallies, reopen: Some(reopen) }
}

/// A session beside the store, as an administrator or an auditor has one.
pub(crate) struct Session(PgConnection);

impl Session {
    /// A session whose tables are those of this schema.
    pub(crate) async fn open(url: &str, schema: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("the URL of the server");
        Self(options.options([("search_path", schema)]).connect().await.expect("an auditor connects"))
    }

    /// Runs a statement that may fail.
    pub(crate) async fn attempt(&mut self, statement: &str) -> Result<(), String> {
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.0).await;
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Runs a statement.
    pub(crate) async fn run(&mut self, statement: &str) {
        self.attempt(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// The one column that a statement finds.
    pub(crate) async fn ask<T>(&mut self, statement: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(statement).fetch_all(&mut self.0).await.expect("the statement runs")
    }

    /// Ends the session, and with it whatever transaction it has.
    pub(crate) async fn close(self) {
        self.0.close().await.expect("it is closed");
    }
}

/// Finds every tally to be the number of its votes, and every checkpoint the number of its records.
pub(crate) async fn audit(place: &Place, options: &PostgresOptions) {
    const WRONG_TALLIES: &str = "SELECT count(*) FROM polls CROSS JOIN unnest(tally) WITH ORDINALITY AS counted (votes, option) \
        WHERE counted.votes <> (SELECT count(*) FROM votes \
        WHERE votes.poll = polls.number AND position(set_byte('\\x00', 0, counted.option::integer) IN choices) > 0)";
    const WRONG_VOTERS: &str = "SELECT count(*) FROM polls WHERE voters <> \
        (SELECT count(*) FROM votes WHERE votes.poll = polls.number AND votes.choices IS NOT NULL)";
    const WRONG_COUNTS: &str =
        "SELECT count(*) FROM checkpoints WHERE next_offset <> counted + duplicate + late + invalid + repeated";
    // Votes that stand, and retractions that took effect, whether they stand or were followed by a vote.
    const WRONG_SUM: &str = "SELECT count(*) FROM (SELECT coalesce(sum(counted - superseded), 0) AS stand FROM checkpoints) AS counts \
        WHERE stand <> (SELECT count(*) FROM votes) + (SELECT count(*) FROM past_votes WHERE outcome = 1)";
    let mut auditor = Session::open(place.url(), &options.schema).await;
    for statement in [WRONG_TALLIES, WRONG_VOTERS, WRONG_COUNTS, WRONG_SUM] {
        assert_eq!(auditor.ask::<i64>(statement).await, [0], "{statement}");
    }
}
