//! Where a PostgreSQL server is, and how sessions with it are opened.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::postgres_server::PostgresOpenError;

/// How long a change of the schema waits for a lock, at the most: behind it, everybody waits.
const MIGRATION_LOCK_TIMEOUT: &str = "2s";
/// How long a session of ours may stay silent within a transaction, and how long the server waits for a client that went away:
/// a worker that was frozen holds back whoever counts its partitions for no longer than this.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a statement of an auditor may take: some hundred millions of votes.
pub(super) const AUDIT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);

/// Where the server is and how long to wait for it. Start from [`new`](Self::new) and change what you need.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    address: Address,
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
    /// How long a statement of a batch may take; twice as long without an answer, and the connection is given up. Default 10 s.
    pub counting_timeout: Duration,
    /// How long a statement waits for a lock that another session holds. Default 5 s.
    pub lock_timeout: Duration,
    /// Whether connections are encrypted. Default [`PostgresTls::Prefer`] in a program built with `postgres-tls`, otherwise
    /// [`PostgresTls::Disable`].
    pub tls: PostgresTls,
    /// A file with the certificates, in PEM, of those who may vouch for the server, besides those that the machine trusts.
    pub tls_root_certificate: Option<PathBuf>,
    /// Accept a server that may lose, when its machine fails, what it said was committed. For tests. Default `false`.
    pub accept_lossy_server: bool,
}

/// Whether connections to a server are encrypted, and what it has to show for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not encrypted.
    Disable,
    /// Encrypted when the server can. Anybody between could say that it cannot.
    Prefer,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with a server that shows a trusted certificate for its name. The only choice for a network that is not trusted.
    VerifyFull,
}

impl PostgresTls {
    /// The words for all of them.
    pub(crate) const NAMES: [(&str, Self); 4] =
        [("disable", Self::Disable), ("prefer", Self::Prefer), ("require", Self::Require), ("verify-full", Self::VerifyFull)];

    const fn mode(self) -> PgSslMode {
        match self {
            Self::Disable => PgSslMode::Disable,
            Self::Prefer => PgSslMode::Prefer,
            Self::Require => PgSslMode::Require,
            Self::VerifyFull => PgSslMode::VerifyFull,
        }
    }
}

/// The address part of a URL, kept apart so that its password is never printed.
#[derive(Clone)]
struct Address(String);

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shown())
    }
}

impl Address {
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
        let address = Address(url.to_owned());
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
            counting_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            tls: if cfg!(feature = "postgres-tls") { PostgresTls::Prefer } else { PostgresTls::Disable },
            tls_root_certificate: None,
            accept_lossy_server: false,
        })
    }

    /// The URL, redacted.
    pub(super) fn shown(&self) -> String {
        self.address.shown()
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
        let parsed = match &self.tls_root_certificate {
            Some(file) => {
                // Looked at here, because a missing file would seem to be a missing server.
                let unreadable = |cause| PostgresOpenError::refused(self, format!("{} cannot be read: {cause}", file.display()));
                std::fs::metadata(file).map_err(unreadable)?;
                parsed.ssl_root_cert(file)
            }
            None => parsed,
        };
        let silence = millis(SILENCE_MAX);
        Ok(parsed
            .ssl_mode(self.tls.mode())
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

    /// For what clients wait for: reads, and changes of polls. The planner takes some of them for so long that it would compile
    /// them first, which takes longer than they do.
    pub(super) fn for_clients(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.connecting(&[("statement_timeout", millis(self.statement_timeout)), ("jit", "off".to_owned())])
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

    /// For auditors. Each statement sees one moment and cannot write, and has the time that a walk through all votes takes.
    pub(super) fn for_auditing(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.connecting(&[
            ("statement_timeout", millis(AUDIT_STATEMENT_TIMEOUT)),
            ("default_transaction_isolation", "repeatable read".to_owned()),
            ("default_transaction_read_only", "on".to_owned()),
            ("jit", "off".to_owned()),
        ])
    }

    /// For whoever mends totals, and has to add them up for that.
    pub(super) fn for_mending(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.connecting(&[("statement_timeout", millis(AUDIT_STATEMENT_TIMEOUT)), ("jit", "off".to_owned())])
    }

    /// For sessions that listen: none of their statements takes longer than a moment.
    pub(crate) fn for_listening(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        self.for_clients()
    }

    /// For sessions that notify: what they commit is a hint, and need not be kept.
    pub(crate) fn for_notifying(&self) -> Result<PgConnectOptions, PostgresOpenError> {
        Ok(self.for_clients()?.options([("synchronous_commit", "off")]))
    }

    pub(super) fn for_migrating(&self) -> Result<PgConnectOptions, PostgresOpenError> {
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

/// A name that is taken as it is, whatever else the word means.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
