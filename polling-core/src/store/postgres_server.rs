//! The server behind the PostgreSQL backends: whether it lets us in, keeps what it is given, and has the tables that are needed.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};
use thiserror::Error;
use tokio::time::timeout;

use super::Source;
pub(crate) use super::postgres_lane::Connection as PostgresConnection;
use super::postgres_lane::{cause, discard, sql_state};
use super::postgres_options::{PostgresOptions, quoted};
use super::postgres_statements as statements;
use crate::retry::Pauses;

/// Not the default name, so that the migrations of an application that uses the same tool are its own.
const MIGRATIONS_TABLE: &str = "schema_versions";
/// How long the whole of it may take: waiting for another program that does it, and rewriting a table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// Why a PostgreSQL backend was not opened. Nothing was changed, unless a migration failed: those before it stay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// The server does not answer, is starting or stopping, or has no connection left. Trying again later may help.
    #[error("the database server at {url} is not available")]
    Unreachable {
        /// The URL, redacted.
        url: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server answers, and does not let us in: user, password or database are wrong, or the user may not do what is needed.
    #[error("the database at {url} cannot be used: {reason}")]
    Refused {
        /// The URL, redacted.
        url: String,
        /// What it says.
        reason: String,
    },
    /// Another server with a log in memory counts in the same schema. Servers need a log that they share to be several.
    #[error("another server with a log in memory uses the schema {schema:?} at {url}")]
    InUse {
        /// The URL, redacted.
        url: String,
        /// The schema.
        schema: String,
    },
    /// The server may lose, when its machine fails, what it said was committed.
    #[error("the database server at {url} runs with {setting}=off and may lose votes that were acknowledged; set it to on")]
    LossyServer {
        /// The URL, redacted.
        url: String,
        /// The setting.
        setting: &'static str,
    },
    /// A newer program made the tables; this one would not understand them.
    #[error("the schema at {url} has version {found}, and this program knows versions up to {known}")]
    NewerSchema {
        /// The URL, redacted.
        url: String,
        /// The version of the schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The tables are not those that this program made, or could not be brought up to date.
    #[error("the schema at {url} cannot be used: {detail}")]
    WrongSchema {
        /// The URL, redacted.
        url: String,
        /// What is wrong.
        detail: String,
    },
}

impl PostgresOpenError {
    /// Whether trying again later may help without anybody doing anything about the configuration.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(super) fn refused(options: &PostgresOptions, reason: String) -> Self {
        Self::Refused { url: options.shown(), reason }
    }

    fn wrong_schema(options: &PostgresOptions, detail: impl Into<String>) -> Self {
        Self::WrongSchema { url: options.shown(), detail: detail.into() }
    }

    /// What an error of the first steps with a server means. Classes 28, 3D and 42 are wrong users and passwords, databases that
    /// are not there, and rights that are missing; an address that is none is not found by any name server.
    pub(crate) fn of(options: &PostgresOptions, error: sqlx::Error) -> Self {
        let state = sql_state(&error).unwrap_or_default();
        match error {
            sqlx::Error::Database(cause) if ["28", "3D", "3F", "42"].iter().any(|class| state.starts_with(class)) => {
                Self::refused(options, cause.message().to_owned())
            }
            // This is how a certificate arrives that is not trusted.
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
                Self::refused(options, cause.to_string())
            }
            sqlx::Error::Tls(cause) => Self::refused(options, cause.to_string()),
            sqlx::Error::Configuration(cause) => Self::refused(options, cause.to_string()),
            other => Self::Unreachable { url: options.shown(), source: cause(other) },
        }
    }

    pub(super) fn late(options: &PostgresOptions) -> Self {
        Self::Unreachable { url: options.shown(), source: "it does not answer".into() }
    }
}

/// The tables of this program, all of them in one schema: so it can share a database with an application.
fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// What bringing a schema up to date did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresMigration {
    /// The version that it had; 0 when there was nothing.
    pub from: i64,
    /// The version that it has.
    pub to: i64,
}

/// Makes the tables, or brings them up to date. Programs that do it at once wait for each other.
///
/// # Errors
///
/// See [`PostgresOpenError`]. A schema of a newer program is left as it is.
pub async fn migrate(options: &PostgresOptions) -> Result<PostgresMigration, PostgresOpenError> {
    let late = |_| PostgresOpenError::late(options);
    let mut connection = connect(options, &options.for_migrating()?).await?;
    let migrated = timeout(MIGRATION_TIMEOUT, migrate_through(&mut connection, options)).await.map_err(late);
    // A lock that it may still hold is gone with the session.
    discard(connection).await;
    migrated?
}

async fn migrate_through(
    connection: &mut PostgresConnection,
    options: &PostgresOptions,
) -> Result<PostgresMigration, PostgresOpenError> {
    let mut migrator = migrator();
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let mut from = version(connection, options).await?;
    if from < known {
        wait_for_turn(connection, options).await?;
        from = version(connection, options).await?;
    }
    if from > known {
        return Err(PostgresOpenError::NewerSchema { url: options.shown(), found: from, known });
    }
    if from < known {
        // A schema that is there is used as it is: making it, even if absent only, needs a right that using it does not.
        let found = sqlx::query_scalar(statements::SCHEMA).bind(options.schema.clone()).fetch_one(&mut *connection).await;
        if !found.map_err(|error| PostgresOpenError::of(options, error))? {
            migrator.create_schema(quoted(&options.schema));
        }
        // Its own lock is that of everybody in the database, and is waited for like one that everybody waits behind.
        migrator.set_locking(false);
        let run = migrator.run_direct(None, &mut *connection, false).await;
        run.map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(found) => {
                PostgresOpenError::NewerSchema { url: options.shown(), found, known }
            }
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                PostgresOpenError::of(options, error)
            }
            other => PostgresOpenError::wrong_schema(options, other.to_string()),
        })?;
    }
    Ok(PostgresMigration { from, to: known })
}

/// Waits until no other program makes the tables of this schema; the session keeps them from it then. It asks again and again: a session
/// that stands in the queue would itself be waited for by statements that wait for all who see old rows.
async fn wait_for_turn(connection: &mut PostgresConnection, options: &PostgresOptions) -> Result<(), PostgresOpenError> {
    let mut pauses = Pauses::default();
    let mut is_said = false;
    loop {
        let taken = sqlx::query_scalar(statements::LOCK_MIGRATING).bind(options.schema.clone()).fetch_one(&mut *connection).await;
        if taken.map_err(|error| PostgresOpenError::of(options, error))? {
            return Ok(());
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(schema = options.schema, "waiting for another program, which brings the tables up to date");
        }
        tokio::time::sleep(pauses.next_pause()).await;
    }
}

/// Makes sure that the tables are those that this program knows, without changing anything.
pub(super) async fn check_schema(options: &PostgresOptions) -> Result<(), PostgresOpenError> {
    let known = migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
    let mut connection = connect(options, &options.for_clients()?).await?;
    let found = version(&mut connection, options).await;
    discard(connection).await;
    match found? {
        found if found > known => Err(PostgresOpenError::NewerSchema { url: options.shown(), found, known }),
        found if found < known => {
            let detail =
                format!("it has version {found}, and this program needs version {known}, which a server or a worker makes");
            Err(PostgresOpenError::wrong_schema(options, detail))
        }
        _ => Ok(()),
    }
}

/// The version of the schema; 0 when there is none yet.
async fn version(connection: &mut PostgresConnection, options: &PostgresOptions) -> Result<i64, PostgresOpenError> {
    let failed = |error| PostgresOpenError::of(options, error);
    let found: bool = sqlx::query_scalar(statements::MIGRATIONS_TABLE).fetch_one(&mut *connection).await.map_err(failed)?;
    if !found {
        return Ok(0);
    }
    let versions: Vec<i64> = sqlx::query_scalar(statements::MIGRATIONS).fetch_all(connection).await.map_err(failed)?;
    Ok(versions.last().copied().unwrap_or(0))
}

/// Opens one connection, bounded in time, and says what keeps it from being opened.
pub(crate) async fn connect(
    options: &PostgresOptions,
    connecting: &PgConnectOptions,
) -> Result<PostgresConnection, PostgresOpenError> {
    match timeout(options.connect_timeout, connecting.connect()).await {
        Ok(connected) => connected.map_err(|error| PostgresOpenError::of(options, error)),
        Err(_) => Err(PostgresOpenError::late(options)),
    }
}

/// Makes sure that the server takes changes and keeps what it says it has committed.
pub(super) async fn check_durability(options: &PostgresOptions) -> Result<(), PostgresOpenError> {
    let failed = |error| PostgresOpenError::of(options, error);
    let mut connection = connect(options, &options.for_clients()?).await?;
    let row = sqlx::query(statements::DURABILITY).fetch_one(&mut connection).await.map_err(failed)?;
    discard(connection).await;
    if row.try_get("is_standby").map_err(failed)? {
        let source = "it is a standby, which takes no changes until it is promoted".into();
        return Err(PostgresOpenError::Unreachable { url: options.shown(), source });
    }
    if options.accept_lossy_server {
        return Ok(());
    }
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        if row.try_get::<String, _>(setting).map_err(failed)? == "off" {
            return Err(PostgresOpenError::LossyServer { url: options.shown(), setting });
        }
    }
    Ok(())
}
