//! Connections for one purpose, and how a transaction goes wrong on them.
//!
//! A pool of its own rather than the driver's, for three reasons: an error says why the server cannot be reached, a connection
//! that was in trouble is never used again, and what is remembered of the store can be tied to a connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgRow, Postgres};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::postgres_statements as statements;
use super::{Overloaded, Source, StoreError};

/// A connection to the server, under a name that does not depend on the driver.
pub(crate) type Connection = sqlx::PgConnection;
/// A statement with its parameters.
pub(super) type Query = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

/// Attempts at a transaction that met somebody else's changes each time. More than one needs two coincidences within milliseconds.
const ATTEMPTS_MAX: u32 = 4;
/// How much longer than the server's own limits a transaction may take before the connection is given up: the server answers
/// first, as long as it answers at all.
const GRACE: Duration = Duration::from_secs(2);

/// A connection and what is remembered as long as it lasts.
#[derive(Debug)]
pub(super) struct Held<M> {
    pub(super) connection: Connection,
    pub(super) memory: M,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Stopped {
    /// For good.
    Error(StoreError),
    /// Somebody else changed what it was decided by; the next attempt sees the change.
    Overtaken,
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

/// How many connections a lane has, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneLimits {
    pub(super) connections_max: usize,
    /// Calls that are taken on at once, running or waiting.
    pub(super) calls_max: usize,
    /// How long a call waits for a free connection.
    pub(super) acquire_timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// How long a transaction may take by the limits that the server keeps.
    pub(super) transaction_timeout: Duration,
}

/// A bounded number of connections for one purpose. The one used last is used first, so what it remembers stays fresh.
#[derive(Debug)]
pub(super) struct Lane<M> {
    options: PgConnectOptions,
    limits: LaneLimits,
    idle: Mutex<Vec<Held<M>>>,
    calls: Semaphore,
    connections: Semaphore,
}

impl<M: Default + Send> Lane<M> {
    pub(super) fn new(options: PgConnectOptions, limits: LaneLimits) -> Self {
        let (calls, connections) = (Semaphore::new(limits.calls_max), Semaphore::new(limits.connections_max));
        Self { options, limits, idle: Mutex::default(), calls, connections }
    }

    /// Lets go of the connections; every later call is refused. Waits for those under way.
    pub(super) async fn shut_down(&self) {
        self.calls.close();
        let all = u32::try_from(self.limits.connections_max).unwrap_or(u32::MAX);
        // Closed already: then the first to close it has waited.
        let waited = self.connections.acquire_many(all).await;
        self.connections.close();
        drop(waited);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for held in idle {
            discard(held.connection).await;
        }
    }

    /// Runs a statement that finds something, outside of any transaction. A connection that turns out to be dead, or to hold a
    /// plan of an older schema, is replaced once.
    pub(super) async fn find(&self, query: impl Fn() -> Query + Send) -> Result<Vec<PgRow>, StoreError> {
        let _call = self.calls.try_acquire().map_err(|error| refused(&error))?;
        let _connection = self.acquire().await?;
        loop {
            let (mut held, is_reused) = self.connection().await?;
            match timeout(self.limits.transaction_timeout + GRACE, query().fetch_all(&mut held.connection)).await {
                Ok(Ok(rows)) => {
                    self.give_back(held);
                    return Ok(rows);
                }
                Ok(Err(error)) if is_reused && is_of_the_connection(&error) => drop(held),
                Ok(Err(error)) => return Err(before_commit(error)),
                Err(late) => return Err(StoreError::Unavailable(late.into())),
            }
        }
    }

    /// Runs `change` in a transaction, and `remember` when it was committed. `change` may run several times, each after the one
    /// before was rolled back.
    pub(super) async fn transact<T, F>(&self, change: F, remember: impl FnOnce(&mut M) + Send) -> Result<T, StoreError>
    where
        F: for<'a> Fn(&'a mut Held<M>, u32) -> BoxFuture<'a, Result<T, Stopped>> + Send + Sync,
    {
        let _call = self.calls.try_acquire().map_err(|error| refused(&error))?;
        let _connection = self.acquire().await?;
        let mut attempt = 0;
        loop {
            let (mut held, is_reused) = self.connection().await?;
            let is_committing = AtomicBool::new(false);
            let transaction = in_transaction(&mut held, &change, attempt, &is_committing);
            match timeout(self.limits.transaction_timeout + GRACE, transaction).await {
                Ok(Ended::Committed(changed)) => {
                    remember(&mut held.memory);
                    self.give_back(held);
                    return Ok(changed);
                }
                // Whatever state it was in, the server rolls back when the connection is gone.
                Ok(Ended::NotBegun(_)) if is_reused => drop(held),
                Ok(Ended::NotBegun(error)) => return Err(before_commit(error)),
                Ok(Ended::Broken(error)) => return Err(error),
                Ok(Ended::RolledBack(Stopped::Error(error))) => {
                    self.give_back(held);
                    return Err(error);
                }
                Ok(Ended::RolledBack(Stopped::Overtaken)) => {
                    self.give_back(held);
                    attempt += 1;
                    if attempt == ATTEMPTS_MAX {
                        return Err(StoreError::Unavailable("others kept changing the same rows".into()));
                    }
                }
                Err(late) if is_committing.load(Ordering::Relaxed) => return Err(StoreError::Unknown(late.into())),
                Err(late) => return Err(StoreError::Unavailable(late.into())),
            }
        }
    }

    /// Has the server prepare a statement, and no more.
    #[cfg(feature = "test-util")]
    pub(super) async fn prepare(&self, statement: &'static str) -> Result<(), StoreError> {
        let _connection = self.acquire().await?;
        let (mut held, _) = self.connection().await?;
        let prepared = sqlx::Executor::prepare(&mut held.connection, sqlx::SqlStr::from_static(statement)).await;
        prepared.map_err(|error| StoreError::Damaged(format!("{statement}: {error}")))?;
        self.give_back(held);
        Ok(())
    }

    /// The plan that a session makes of a statement before it knows any parameter.
    #[cfg(feature = "test-util")]
    pub(super) async fn plan(&self, statement: &'static str) -> Result<String, StoreError> {
        let _connection = self.acquire().await?;
        let (mut held, _) = self.connection().await?;
        let parameters = (1..).take_while(|number| statement.contains(&format!("${number}"))).count();
        let prepare = format!("PREPARE explained AS {statement}");
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE explained({})", vec!["NULL"; parameters].join(", "));
        let connection = &mut held.connection;
        sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await.map_err(before_commit)?;
        let explain = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(explain)).persistent(false);
        let lines = explain.fetch_all(&mut *connection).await.map_err(before_commit)?;
        sqlx::raw_sql("DEALLOCATE explained").execute(&mut *connection).await.map_err(before_commit)?;
        self.give_back(held);
        Ok(lines.join("\n"))
    }

    async fn acquire(&self) -> Result<tokio::sync::SemaphorePermit<'_>, StoreError> {
        match timeout(self.limits.acquire_timeout, self.connections.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(StoreError::Unavailable("the store is closed".into())),
            Err(_) => Err(StoreError::Unavailable("no connection to the database became free in time".into())),
        }
    }

    /// A connection, and whether it was used before, so that it may have died since.
    async fn connection(&self) -> Result<(Held<M>, bool), StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(held) = idle {
            return Ok((held, true));
        }
        match timeout(self.limits.connect_timeout, self.options.connect()).await {
            Ok(Ok(connection)) => Ok((Held { connection, memory: M::default() }, false)),
            Ok(Err(error)) => Err(StoreError::Unavailable(cause(error))),
            Err(_) => Err(StoreError::Unavailable("the database does not answer".into())),
        }
    }

    fn give_back(&self, held: Held<M>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    }
}

/// How a transaction ended.
enum Ended<T> {
    Committed(T),
    /// Nothing was done, and the connection is of no use.
    NotBegun(sqlx::Error),
    /// Nothing was done, and the connection is as it was.
    RolledBack(Stopped),
    /// The connection is of no use.
    Broken(StoreError),
}

async fn in_transaction<M, T, F>(held: &mut Held<M>, change: &F, attempt: u32, is_committing: &AtomicBool) -> Ended<T>
where
    F: for<'a> Fn(&'a mut Held<M>, u32) -> BoxFuture<'a, Result<T, Stopped>>,
{
    if let Err(error) = sqlx::query(statements::BEGIN).execute(&mut held.connection).await {
        return Ended::NotBegun(error);
    }
    match change(held, attempt).await {
        Ok(changed) => {
            is_committing.store(true, Ordering::Relaxed);
            match sqlx::query(statements::COMMIT).execute(&mut held.connection).await {
                Ok(_) => Ended::Committed(changed),
                Err(error) => Ended::Broken(at_commit(error)),
            }
        }
        Err(stopped @ (Stopped::Overtaken | Stopped::Error(StoreError::Fenced { .. }))) => {
            match sqlx::query(statements::ROLLBACK).execute(&mut held.connection).await {
                Ok(_) => Ended::RolledBack(stopped),
                Err(error) => Ended::Broken(before_commit(error)),
            }
        }
        Err(Stopped::Error(error)) => Ended::Broken(error),
    }
}

fn refused(error: &tokio::sync::TryAcquireError) -> StoreError {
    match error {
        tokio::sync::TryAcquireError::Closed => StoreError::Unavailable("the store is closed".into()),
        tokio::sync::TryAcquireError::NoPermits => StoreError::Unavailable(Overloaded.into()),
    }
}

/// Says goodbye on a connection that is of no more use. What comes back changes nothing.
pub(super) async fn discard(connection: Connection) {
    drop(timeout(GRACE, connection.close()).await);
}

/// The five characters that say what went wrong, when it was the server that said so.
pub(super) fn sql_state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether another connection may do what this one could not: the link broke, the server ended the session (class 57P), or the
/// session has prepared a statement for a schema that was changed since (0A000).
fn is_of_the_connection(error: &sqlx::Error) -> bool {
    sql_state(error).is_none_or(|state| state.starts_with("57P") || state == "0A000")
}

/// Two wrote the same row.
pub(super) const UNIQUE_VIOLATION: &str = "23505";

/// The cause of an error, without the driver's words around it, which say it a second time.
pub(super) fn cause(error: sqlx::Error) -> Source {
    match error {
        sqlx::Error::Io(cause) => cause.into(),
        sqlx::Error::Database(cause) => {
            let state = cause.code().unwrap_or_default();
            format!("{} (SQLSTATE {state})", cause.message()).into()
        }
        other => other.into(),
    }
}

/// What an error means as long as COMMIT has not been sent: nothing was changed. Class 23 is a row that breaks what the schema
/// demands, and XX001 and XX002 are damaged pages.
pub(super) fn before_commit(error: sqlx::Error) -> StoreError {
    let unreadable = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_));
    let state = sql_state(&error).unwrap_or_default();
    if unreadable || state.starts_with("23") || matches!(&*state, "XX001" | "XX002") {
        StoreError::Damaged(error.to_string())
    } else {
        StoreError::Unavailable(cause(error))
    }
}

/// What an error of COMMIT means. Classes 23, 40 and 53 are those by which the server refuses to commit and rolls back, but for
/// 40003, which says that it does not know. After anything else, and without an answer, it may have committed.
fn at_commit(error: sqlx::Error) -> StoreError {
    let state = sql_state(&error).unwrap_or_default();
    let is_refusal = ["23", "40", "53"].iter().any(|class| state.starts_with(class)) && state != "40003";
    if is_refusal { StoreError::Unavailable(cause(error)) } else { StoreError::Unknown(cause(error)) }
}
