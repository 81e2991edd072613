//! The server behind the PostgreSQL backends: where it is, whether it keeps what it is given, and the tables that it needs.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Row as _};
use thiserror::Error;
use tokio::time::timeout;

use super::Source;
pub(crate) use super::postgres_lane::Connection as PostgresConnection;
use super::postgres_lane::{cause, discard, sql_state};
use super::postgres_statements as statements;

/// Not the default name, so that the migrations of an application that uses the same tool are its own.
const MIGRATIONS_TABLE: &str = "schema_versions";
/// How long a change of the schema waits for a lock, at the most: behind it, everybody waits.
const MIGRATION_LOCK_TIMEOUT: &str = "2s";
/// How long the whole of it may take: waiting for another program that does it, and rewriting a table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a session of ours may stay silent within a transaction, and how long the server waits for a client that went away:
/// a worker that was frozen holds back whoever counts its partitions for no longer than this.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Where the server is and how long to wait for it. Start from [`new`](Self::new) and change what you need.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    pub(crate) address: PostgresAddress,
    /// The schema that all tables are in; made when it is absent. Default `polling`.
    pub schema: String,
    /// Connections that apply batches, at least 1: as many as there are counting loops. Default 2.
    pub counting_connections: usize,
    /// Connections that read, at least 2. Default 8.
    pub read_connections: usize,
    /// Connections that create, close and archive polls, at least 1. Default 2.
    pub admin_connections: usize,
    /// How long opening a connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a statement may take that reads, or changes a poll. Default 5 s.
    pub statement_timeout: Duration,
    /// How long a statement of a batch may take. Default 30 s.
    pub counting_timeout: Duration,
    /// How long a statement waits for a lock that another session holds. Default 5 s.
    pub lock_timeout: Duration,
    /// Accept a server that may lose, when its machine fails, what it said was committed. For tests. Default `false`.
    pub accept_lossy_server: bool,
}

/// The address part of a URL, kept apart so that its password is never printed.
#[derive(Clone)]
pub(crate) struct PostgresAddress(String);

impl std::fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shown())
    }
}

impl PostgresAddress {
    fn shown(&self) -> String {
        crate::settings::redacted_url(&self.0)
    }

    fn parse(&self) -> Result<PgConnectOptions, String> {
        self.0.parse().map_err(|error: sqlx::Error| match error {
            sqlx::Error::Configuration(cause) => cause.to_string(),
            other => other.to_string(),
        })
    }
}

impl PostgresOptions {
    /// Options for the server at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Nothing may follow the name of the database.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, as a sentence without its end and without the password.
    pub fn new(url: &str) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").ok_or("it must begin with postgres://USER:PASSWORD@HOST:PORT/DATABASE")?;
        if rest.contains(['?', '#']) {
            return Err("nothing may follow the name of the database".to_owned());
        }
        let address = PostgresAddress(url.to_owned());
        let parsed = address.parse()?;
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // Without these the driver would ask the environment.
        for (part, what) in [(user, "user"), (host, "host"), (database, "database")] {
            if part.is_empty() {
                return Err(format!("it names no {what}; it must read postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
            }
        }
        debug_assert!(parsed.get_database().is_some(), "a path is the name of a database");
        Ok(Self {
            address,
            schema: "polling".to_owned(),
            counting_connections: 2,
            read_connections: 8,
            admin_connections: 2,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            counting_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            accept_lossy_server: false,
        })
    }

    /// What a connection is opened with. `more` are settings of its sessions.
    fn connecting(&self, more: &[(&str, String)]) -> Result<PgConnectOptions, PostgresOpenError> {
        if !is_schema_name(&self.schema) {
            return Err(PostgresOpenError::refused(self, format!("{:?} {SCHEMA_NAME_RULE}", self.schema)));
        }
        let parsed = self.address.parse().map_err(|reason| PostgresOpenError::refused(self, reason))?;
        // The driver fills in from the environment what it is not told.
        let authority = self.address.0.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        let (user, host) = authority.rsplit_once('@').unwrap_or_default();
        let parsed = if user.contains(':') { parsed } else { parsed.password("") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let parsed = if has_port { parsed } else { parsed.port(5432) };
        let ssl_mode = if cfg!(feature = "postgres-tls") { PgSslMode::Prefer } else { PgSslMode::Disable };
        let silence = millis(SILENCE_MAX);
        Ok(parsed
            .ssl_mode(ssl_mode)
            // So that an administrator sees whose sessions they are.
            .application_name(&self.schema)
            .options([
                ("search_path", quoted(&self.schema)),
                ("lock_timeout", millis(self.lock_timeout)),
                ("idle_in_transaction_session_timeout", silence.clone()),
                ("tcp_user_timeout", silence),
                ("tcp_keepalives_idle", "5".to_owned()),
                ("tcp_keepalives_interval", "2".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
            ])
            .options(more.iter().map(|(name, value)| (*name, value)))
            .disable_statement_logging())
    }

    /// For what clients wait for: reads, and changes of polls.
    pub(super) fn for_clients(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.connecting(&[("statement_timeout", millis(self.statement_timeout))])
    }

    /// For batches. Every statement of a batch finds rows by their keys, in a table that may grow a thousandfold after it was planned
    /// for: so it is planned once, and never as a walk through a table.
    pub(super) fn for_counting(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        let off = || "off".to_owned();
        self.connecting(&[
            ("statement_timeout", millis(self.counting_timeout)),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", off()),
            ("enable_hashjoin", off()),
            ("enable_mergejoin", off()),
            ("jit", off()),
        ])
    }

    /// For sessions that listen: none of their statements takes longer than a moment.
    pub(crate) fn for_listening(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.for_clients()
    }

    /// For sessions that notify: what they commit is a hint, and need not be kept.
    pub(crate) fn for_notifying(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        Ok(self.for_clients()?.options([("synchronous_commit", "off")]))
    }

    fn for_migrating(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        Ok(self
            .connecting(&[("statement_timeout", "0".to_owned())])?
            .options([("lock_timeout", MIGRATION_LOCK_TIMEOUT), ("idle_in_transaction_session_timeout", "0")]))
    }
}

/// How the name of a schema must be.
pub(crate) const SCHEMA_NAME_RULE: &str = "must be 1 to 40 lower case letters, digits and underscores, and begin with a letter";

/// Whether a schema can have this name: one that needs no quoting anywhere, and leaves room for names that are made of it.
pub(crate) fn is_schema_name(name: &str) -> bool {
    let is_sound = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    name.len() <= 40 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_sound)
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Why a PostgreSQL backend was not opened. Nothing was changed, unless a migration failed: those before it stay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// The server does not answer, is starting or stopping, or has no connection left. Trying again later may help.
    #[error("the database server at {url} cannot be reached")]
    Unreachable {
        /// The URL, redacted.
        url: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server answers, and does not let us in: user, password or database are wrong, or the user may not do what is needed.
    #[error("the database server at {url} refuses: {reason}")]
    Refused {
        /// The URL, redacted.
        url: String,
        /// What it says.
        reason: String,
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

    fn refused(options: &PostgresOptions, reason: String) -> Self {
        Self::Refused { url: options.address.shown(), reason }
    }

    fn wrong_schema(options: &PostgresOptions, detail: impl Into<String>) -> Self {
        Self::WrongSchema { url: options.address.shown(), detail: detail.into() }
    }

    /// What an error of the first steps with a server means. Classes 28, 3D and 42 are wrong users and passwords, databases that
    /// are not there, and rights that are missing; an address that is none is not found by any name server.
    pub(crate) fn of(options: &PostgresOptions, error: sqlx::Error) -> Self {
        let state = sql_state(&error).unwrap_or_default();
        match error {
            sqlx::Error::Database(cause) if ["28", "3D", "3F", "42"].iter().any(|class| state.starts_with(class)) => {
                Self::refused(options, cause.message().to_owned())
            }
            sqlx::Error::Tls(cause) => Self::refused(options, cause.to_string()),
            sqlx::Error::Configuration(cause) => Self::refused(options, cause.to_string()),
            other => Self::Unreachable { url: options.address.shown(), source: cause(other) },
        }
    }

    fn late(options: &PostgresOptions) -> Self {
        Self::Unreachable { url: options.address.shown(), source: "it does not answer".into() }
    }
}

/// The tables of this program, all of them in one schema: so it can share a database with an application.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// A name that is taken as it is, whatever else the word means.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
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
    let from = version(connection, options).await?;
    if from > known {
        return Err(PostgresOpenError::NewerSchema { url: options.address.shown(), found: from, known });
    }
    if from < known {
        // A schema that is there is used as it is: making it, even if absent only, needs a right that using it does not.
        let found = sqlx::query_scalar(statements::SCHEMA).bind(options.schema.clone()).fetch_one(&mut *connection).await;
        if !found.map_err(|error| PostgresOpenError::of(options, error))? {
            migrator.create_schema(quoted(&options.schema));
        }
        let run = migrator.run_direct(None, &mut *connection, false).await;
        run.map_err(|error| match error {
            MigrateError::VersionMissing(found) => PostgresOpenError::NewerSchema { url: options.address.shown(), found, known },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => PostgresOpenError::of(options, error),
            other => PostgresOpenError::wrong_schema(options, other.to_string()),
        })?;
    }
    Ok(PostgresMigration { from, to: known })
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

/// Makes sure that the server keeps what it says it has committed.
pub(super) async fn check_durability(options: &PostgresOptions) -> Result<(), PostgresOpenError> {
    if options.accept_lossy_server {
        return Ok(());
    }
    let failed = |error| PostgresOpenError::of(options, error);
    let mut connection = connect(options, &options.for_clients()?).await?;
    let row = sqlx::query(statements::DURABILITY).fetch_one(&mut connection).await.map_err(failed)?;
    discard(connection).await;
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        if row.try_get::<String, _>(setting).map_err(failed)? == "off" {
            return Err(PostgresOpenError::LossyServer { url: options.address.shown(), setting });
        }
    }
    Ok(())
}
