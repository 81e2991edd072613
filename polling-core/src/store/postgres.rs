//! A store in a PostgreSQL database: for many processes, of which several may count.
//!
//! A batch is one transaction. Its first statement holds the checkpoints of its partitions, so exactly one of all counting loops
//! applies each record, and one that was frozen and wakes up changes nothing. What an error leaves open is answered by applying the same
//! batch again. Connections for counting, for reads and for changes of polls are apart, so that none of them can use up
//! those of another.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::PgRow;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::postgres_apply::query;
pub use super::postgres_audit::PostgresAudit;
use super::postgres_lane::{Held, Lane, LaneLimits, Query, Stopped};
use super::postgres_memory::Memory;
pub use super::postgres_options::{PostgresOptions, PostgresTls};
use super::postgres_rows::{optional_time, sound};
use super::postgres_server::check_durability;
pub use super::postgres_server::{PostgresMigration, PostgresOpenError, migrate};
use super::postgres_statements as statements;
use super::{Overloaded, StoreError};
use crate::clock::Timestamp;

/// Batches that are taken on at once. A counting loop has one.
const BATCHES_MAX: usize = 64;
/// Reads that are taken on at once: a few seconds of work.
const READS_MAX: usize = 8192;
/// Changes of polls that are taken on at once: more would wait for longer than anybody does.
const DEFINITIONS_MAX: usize = 256;
/// Reads that may walk through a table at once: lists with a filter, ranks and the leaderboard. The rest of the connections is for
/// those that find a row by its key.
const SCANS_MAX: usize = 2;
/// Statements of a change of a poll, at most.
const DEFINITION_STATEMENTS: u32 = 4;
/// How long one waits for its turn.
const SCAN_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a batch waits for a free connection.
const COUNTING_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long everybody else does.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Polls, votes and tallies in one schema of a PostgreSQL database.
///
/// It needs a Tokio runtime. Every call runs in a task of its own: dropping its future never interrupts it. Connections are opened
/// when they are needed and replaced after any error, so a server that comes back needs nobody.
#[derive(Debug)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    counting: Lane<Memory>,
    reads: Lane<()>,
    definitions: Lane<()>,
    scans: Semaphore,
}

impl PostgresStore {
    /// Opens the store: makes the tables or brings them up to date, and checks that the server keeps what it commits.
    ///
    /// # Errors
    ///
    /// See [`PostgresOpenError`].
    pub async fn open(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        check_durability(options).await?;
        migrate(options).await?;
        let limits = |connections_max, calls_max, acquire_timeout, transaction_timeout| LaneLimits {
            connections_max,
            calls_max,
            acquire_timeout,
            connect_timeout: options.connect_timeout,
            transaction_timeout,
        };
        let counting = limits(
            options.counting_connections.max(1),
            BATCHES_MAX,
            COUNTING_ACQUIRE_TIMEOUT,
            // The longest statement, and as much again for all the others.
            options.counting_timeout.saturating_mul(2),
        );
        let reads = limits(options.read_connections.max(SCANS_MAX), READS_MAX, ACQUIRE_TIMEOUT, options.statement_timeout);
        let definitions = limits(
            options.admin_connections.max(1),
            DEFINITIONS_MAX,
            ACQUIRE_TIMEOUT,
            options.statement_timeout.saturating_mul(DEFINITION_STATEMENTS),
        );
        let inner = Inner {
            counting: Lane::new(options.for_counting()?, counting),
            reads: Lane::new(options.for_clients()?, reads),
            definitions: Lane::new(options.for_clients()?, definitions),
            scans: Semaphore::new(SCANS_MAX),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for the calls that are under way and closes the connections. Every later call is [`StoreError::Unavailable`]; doing
    /// it again does nothing.
    pub async fn shut_down(&self) {
        self.inner.counting.shut_down().await;
        self.inner.definitions.shut_down().await;
        self.inner.reads.shut_down().await;
    }

    /// What the clock of the server says.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        let rows = self.read_rows(|| query(statements::TIME)).await?;
        let now = optional_time(sound(rows.first(), "the time")?, "now")?;
        now.ok_or_else(|| StoreError::Damaged("the server does not tell the time".to_owned()))
    }

    /// Has the server prepare every statement of the store; answers how many there are.
    ///
    /// # Errors
    ///
    /// The first that it refuses.
    #[cfg(feature = "test-util")]
    pub async fn prepare_statements(&self) -> Result<usize, StoreError> {
        for &statement in statements::ALL {
            self.inner.definitions.prepare(statement).await?;
            self.inner.counting.prepare(statement).await?;
        }
        Ok(statements::ALL.len())
    }

    /// The statements of a batch, each with the plan that counting sessions make of it.
    ///
    /// # Errors
    ///
    /// When the server refuses one.
    #[cfg(feature = "test-util")]
    pub async fn plans(&self) -> Result<Vec<(&'static str, String)>, StoreError> {
        let mut plans = Vec::new();
        for &statement in statements::OF_A_BATCH {
            plans.push((statement, self.inner.counting.plan(statement).await?));
        }
        Ok(plans)
    }

    /// Runs the transaction of a batch, and `remember` when it was committed.
    pub(super) async fn count<T, F>(
        &self,
        change: F,
        remember: impl FnOnce(&mut Memory) + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Held<Memory>, u32) -> BoxFuture<'a, Result<T, Stopped>> + Send + Sync + 'static,
    {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.counting.transact(change, remember).await }).await)
    }

    /// Runs a transaction that changes a poll.
    pub(super) async fn define<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Held<()>, u32) -> BoxFuture<'a, Result<T, Stopped>> + Send + Sync + 'static,
    {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.definitions.transact(change, |()| ()).await }).await)
    }

    /// Runs a statement that finds something by its key.
    pub(super) async fn read_rows(&self, query: impl Fn() -> Query + Send + 'static) -> Result<Vec<PgRow>, StoreError> {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.reads.find(query).await }).await)
    }

    /// The same for a statement that may walk through a table.
    pub(super) async fn scan_rows(&self, query: impl Fn() -> Query + Send + 'static) -> Result<Vec<PgRow>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let scan = tokio::spawn(async move {
            let Ok(Ok(_scan)) = timeout(SCAN_ACQUIRE_TIMEOUT, inner.scans.acquire()).await else {
                return Err(StoreError::Unavailable(Overloaded.into()));
            };
            inner.reads.find(query).await
        });
        ended(scan.await)
    }
}

/// The task ends early only when it panics or the runtime shuts down: no telling how far it came.
fn ended<T>(task: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    task.unwrap_or_else(|error| Err(StoreError::Unknown(error.into())))
}
