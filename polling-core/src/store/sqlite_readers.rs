//! The connections of the `SQLite` store that only read, and how many statements may wait for them.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use tokio::sync::Semaphore;

use super::sqlite::{Query, before_commit};
use super::{Overloaded, StoreError};

/// How long a statement waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A few connections, and a bound for the statements that are taken on. One that is too much, or whose turn does not come in time, is
/// [`Overloaded`]: whoever asks a lot must not make a store that is well look ill.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) connections: SqlitePool,
    /// A permit for each statement that runs or waits.
    taken_on: Semaphore,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, connections_max: u32, statements_max: usize) -> Self {
        let connections = SqlitePoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { connections, taken_on: Semaphore::new(statements_max) }
    }

    /// Runs a statement that finds something, outside of any transaction.
    pub(super) async fn rows(&self, query: Query) -> Result<Vec<SqliteRow>, StoreError> {
        let overloaded = || StoreError::Unavailable(Overloaded.into());
        let _taken_on = self.taken_on.try_acquire().map_err(|_| overloaded())?;
        query.fetch_all(&self.connections).await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => overloaded(),
            other => before_commit(other),
        })
    }

    /// Waits for the statements that run, and closes the connections. Every later call is [`StoreError::Unavailable`].
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}
