//! From URLs to backends. The only place that picks backends.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::bus::UpdateBus;
use crate::bus::memory::MemoryBus;
#[cfg(feature = "postgres")]
use crate::bus::postgres::PostgresBus;
use crate::clock::{Clock, Timestamp};
#[cfg(feature = "kafka")]
use crate::open_kafka::{self, OpenKafka};
#[cfg(feature = "postgres")]
use crate::open_postgres::{bus_options, store_options};
use crate::open_url::Parts;
use crate::settings::did_you_mean;
use crate::shutdown::Shutdown;
use crate::sink::VoteSink;
use crate::sink::memory::{MemorySink, WAITING_VOTES_DEFAULT, memory_log};
use crate::source::VoteSource;
use crate::store::memory::MemoryStore;
#[cfg(feature = "postgres")]
use crate::store::postgres::{PostgresOpenError, PostgresStore};
#[cfg(feature = "postgres")]
use crate::store::postgres_claim::PostgresClaim;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{PollStore, StoreError, TallyStore};

/// What to open, as URLs: `memory:`, `sqlite:FILE`, `postgres://USER:PASSWORD@HOST:PORT/DATABASE` and
/// `kafka://HOST:PORT,HOST:PORT/TOPIC`. Parameters follow a `?`.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The vote log: `memory:`, with `capacity=VOTES` (default 65,536) for how many may wait; or `kafka:` with `capacity` (default
    /// 262,144), `partitions` (12), `replication` (3) and `min-in-sync` (2) for its topic, `accept-weak-topic=true` to take one that
    /// could lose acknowledged votes, `accept-unreadable=true` to set aside any number of records that are no votes, `group` (`polling`) of
    /// the workers, and `librdkafka.NAME` for settings of the client.
    pub log: String,
    /// The store: `memory:`, `sqlite:FILE`, or `postgres:` with `schema`, `counting-connections`, `read-connections`,
    /// `admin-connections`, `connect-timeout`, `statement-timeout`, `counting-timeout`, `lock-timeout`, `tls`,
    /// `tls-root-certificate` and `accept-lossy-server`:
    /// see `PostgresOptions`.
    pub store: String,
    /// The update bus: `memory:`; or `postgres:` with `schema`, `connect-timeout`, `statement-timeout`, `tls` and
    /// `tls-root-certificate`; or `kafka:` with `partitions` (1), `replication` (3, or as many brokers as there are) and
    /// `librdkafka.NAME`.
    pub bus: String,
    /// The folder that a relative file name is in.
    pub data_dir: PathBuf,
}

/// The backends behind a set of URLs.
#[derive(Clone)]
#[non_exhaustive]
pub struct Backends {
    /// Where votes go in.
    pub sink: Arc<dyn VoteSink>,
    /// Where they come out.
    pub source: Arc<dyn VoteSource>,
    /// Where polls are kept.
    pub polls: Arc<dyn PollStore>,
    /// Where votes and tallies are kept.
    pub tallies: Arc<dyn TallyStore>,
    /// What carries news.
    pub bus: Arc<dyn UpdateBus>,
    /// The log, when it is in this process: then this process must count it, and closing it is how counting ends.
    pub memory_log: Option<MemorySink>,
    #[cfg(feature = "sqlite")]
    sqlite: Option<Arc<SqliteStore>>,
    #[cfg(feature = "postgres")]
    postgres: Option<Arc<PostgresStore>>,
    /// Where votes are in memory and polls at a server, which may have one such program.
    #[cfg(feature = "postgres")]
    claim: Option<Arc<PostgresClaim>>,
    #[cfg(feature = "kafka")]
    kafka: OpenKafka,
}

impl Backends {
    /// The store, when it is an `SQLite` file, to make it fail on purpose.
    #[cfg(all(feature = "sqlite", feature = "test-util"))]
    #[must_use]
    pub fn sqlite(&self) -> Option<Arc<SqliteStore>> {
        self.sqlite.clone()
    }

    /// Why a log at a server cannot be written or read just now, as far as is known: it takes seconds to find out. A log in memory
    /// is always there.
    #[must_use]
    pub fn log_trouble(&self) -> Option<String> {
        #[cfg(feature = "kafka")]
        return self.kafka.log_trouble();
        #[cfg(not(feature = "kafka"))]
        None
    }

    /// What endangers votes that are in a log at a server, or that will be, while all goes on: a topic that does not keep the rules any
    /// more, or a backlog that has used much of the time for which the log keeps it.
    #[must_use]
    pub fn log_warning(&self) -> Option<String> {
        #[cfg(feature = "kafka")]
        return self.kafka.log_warning();
        #[cfg(not(feature = "kafka"))]
        None
    }

    /// Looks, until `shutdown` is requested, at how long votes wait in a log at a server that keeps them for a bounded time; says so in
    /// metrics, in the log of the process and by [`log_warning`](Self::log_warning) when that is a quarter of it, and again when it is
    /// half. Does nothing but wait for a log in memory. One process for each place where alarms come from is enough: it looks at all
    /// partitions.
    ///
    /// Dropping the future stops the looking.
    pub async fn watch_backlog(&self, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        #[cfg(feature = "kafka")]
        if let Some(log) = &self.kafka.log {
            log.backlog.watch(Arc::clone(&self.tallies), clock, shutdown).await;
            return;
        }
        drop(clock);
        shutdown.requested().await;
    }

    /// The time of the server that keeps the store; `None` when the store is in this process, which has one clock.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "the same signature as with the feature"))]
    pub async fn store_time(&self) -> Option<Result<Timestamp, StoreError>> {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            return Some(postgres.time().await);
        }
        None
    }

    /// Closes what is open on the disk or at a server, so that another process, or this one, can go on with it at once. Every later
    /// call to the store or the log is refused. Close a log in memory and let the counting end first. Doing it again does nothing.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "kafka")),
        expect(clippy::unused_async, reason = "the same signature as with the features")
    )]
    pub async fn shut_down(&self) {
        #[cfg(feature = "kafka")]
        self.kafka.close().await;
        #[cfg(feature = "sqlite")]
        if let Some(sqlite) = &self.sqlite {
            sqlite.shut_down().await;
        }
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            postgres.shut_down().await;
        }
        // Last: whoever waits for it finds a store that nobody writes into.
        #[cfg(feature = "postgres")]
        if let Some(claim) = &self.claim {
            claim.give_back().await;
        }
    }
}

/// A store and how to close it.
struct Store {
    polls: Arc<dyn PollStore>,
    tallies: Arc<dyn TallyStore>,
    #[cfg(feature = "sqlite")]
    sqlite: Option<Arc<SqliteStore>>,
    #[cfg(feature = "postgres")]
    postgres: Option<Arc<PostgresStore>>,
}

/// Why a backend was not opened. The first four are mistakes in the configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a URL of ours.
    #[error("the {role} {url:?} has an unknown scheme {scheme:?}{}; known are {known}", did_you_mean(.nearest.as_deref()))]
    UnknownScheme {
        /// `log`, `store` or `bus`.
        role: &'static str,
        /// The URL, redacted.
        url: String,
        /// What stands before the colon.
        scheme: String,
        /// The nearest known scheme.
        nearest: Option<String>,
        /// All known ones.
        known: String,
    },
    /// A parameter that this backend does not have.
    #[error("the {role} {url:?} has an unknown parameter {parameter:?}{}", did_you_mean(.nearest.as_deref()))]
    UnknownParameter {
        /// `log`, `store` or `bus`.
        role: &'static str,
        /// The URL, redacted.
        url: String,
        /// The parameter.
        parameter: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A URL that its backend cannot use.
    #[error("the {role} {url:?} cannot be used: {reason}")]
    BadUrl {
        /// `log`, `store` or `bus`.
        role: &'static str,
        /// The URL, redacted.
        url: String,
        /// Why, as a sentence without its end.
        reason: String,
    },
    /// This program was built without the backend.
    #[error("the {role} {url:?} needs a program built with the feature {feature:?}")]
    NotBuilt {
        /// `log`, `store` or `bus`.
        role: &'static str,
        /// The URL, redacted.
        url: String,
        /// The feature of `polling-core`.
        feature: &'static str,
    },
    /// The topic cannot be used, or the client not be made.
    #[cfg(feature = "kafka")]
    #[error("failed to open the {role}")]
    Kafka {
        /// `log` or `bus`.
        role: &'static str,
        /// Why.
        #[source]
        source: crate::kafka::KafkaOpenError,
    },
    /// The `SQLite` file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error("failed to open the store")]
    Sqlite(#[from] crate::store::sqlite::SqliteOpenError),
    /// The PostgreSQL server or what it holds cannot be used.
    #[cfg(feature = "postgres")]
    #[error("failed to open the {role}")]
    Postgres {
        /// `store` or `bus`.
        role: &'static str,
        /// Why.
        #[source]
        source: PostgresOpenError,
    },
}

impl OpenError {
    /// Whether the configuration is wrong, and not the world.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::UnknownScheme { .. } | Self::UnknownParameter { .. } | Self::BadUrl { .. } | Self::NotBuilt { .. })
    }

    /// Whether opening again later may succeed without anybody doing anything: a server is not there yet, or not any more.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka { source, .. } => source.is_retryable(),
            #[cfg(feature = "postgres")]
            Self::Postgres { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
}

/// All mistakes in the URLs that can be found without opening anything.
#[must_use]
pub fn check(urls: &Urls) -> Vec<OpenError> {
    let log = check_log(&Parts::of("log", &urls.log)).map(|_| ());
    let store = check_store(&Parts::of("store", &urls.store));
    let bus = check_bus(&Parts::of("bus", &urls.bus));
    [log, store, bus].into_iter().filter_map(Result::err).collect()
}

/// Opens the backends. Nothing is left open when one of them fails.
///
/// # Errors
///
/// See [`OpenError`]. Mistakes in the URLs are found before anything is opened.
///
/// # Cancellation
///
/// Dropping the future lets go of what was opened by then, a moment later. What was made stays, such as a file, tables or topics, and is
/// found by the next call.
pub async fn open(urls: &Urls) -> Result<Backends, OpenError> {
    let log = Parts::of("log", &urls.log);
    let store = Parts::of("store", &urls.store);
    let bus = Parts::of("bus", &urls.bus);
    let capacity = check_log(&log)?;
    check_bus(&bus)?;
    #[cfg(feature = "postgres")]
    let claim = if log.scheme == "memory" { claim(&store).await? } else { None };
    let store = open_store(&store, urls).await?;
    let opened_bus = open_bus(&bus).await?;
    let (sink, source) = memory_log(capacity);
    #[cfg_attr(not(feature = "kafka"), expect(unused_mut, reason = "other logs and buses take the places of those in memory"))]
    let mut backends = Backends {
        sink: Arc::new(sink.clone()),
        source: Arc::new(source),
        polls: store.polls,
        tallies: store.tallies,
        bus: opened_bus,
        memory_log: Some(sink),
        #[cfg(feature = "sqlite")]
        sqlite: store.sqlite,
        #[cfg(feature = "postgres")]
        postgres: store.postgres,
        #[cfg(feature = "postgres")]
        claim,
        #[cfg(feature = "kafka")]
        kafka: OpenKafka::default(),
    };
    #[cfg(feature = "kafka")]
    if let Err(error) = open_on_kafka(&mut backends, &log, &bus).await {
        backends.shut_down().await;
        return Err(error);
    }
    Ok(backends)
}

/// Puts a log and a bus that are on Kafka in the place of those in memory.
#[cfg(feature = "kafka")]
async fn open_on_kafka(backends: &mut Backends, log: &Parts<'_>, bus: &Parts<'_>) -> Result<(), OpenError> {
    if log.scheme == "kafka" {
        let opened = open_kafka::open_log(&open_kafka::log_options(log)?).await;
        let opened = opened.map_err(|source| OpenError::Kafka { role: "log", source })?;
        backends.sink = opened.sink();
        backends.source = Arc::clone(&opened.source) as Arc<dyn VoteSource>;
        backends.memory_log = None;
        backends.kafka.log = Some(opened);
    }
    if bus.scheme == "kafka" {
        let opened = open_kafka::open_bus(&open_kafka::bus_options(bus)?).await;
        let bus = opened.map_err(|source| OpenError::Kafka { role: "bus", source })?;
        backends.bus = Arc::clone(&bus) as Arc<dyn UpdateBus>;
        backends.kafka.bus = Some(bus);
    }
    Ok(())
}

/// Votes that may be told to wait, at most: beyond that, memory is the bottleneck.
const CAPACITY_MAX: usize = 10_000_000;

fn check_log(log: &Parts<'_>) -> Result<usize, OpenError> {
    match log.scheme {
        "memory" => {
            log.nothing_but_parameters()?;
            log.only(&["capacity"])?;
            log.number("capacity", WAITING_VOTES_DEFAULT, 1..=CAPACITY_MAX)
        }
        // What waits in a log in memory that nobody uses is nothing.
        #[cfg(feature = "kafka")]
        "kafka" => open_kafka::log_options(log).map(|_| WAITING_VOTES_DEFAULT),
        #[cfg(not(feature = "kafka"))]
        "kafka" => Err(log.not_built("kafka")),
        _ => Err(log.unknown_scheme(&["memory", "kafka"])),
    }
}

fn check_bus(bus: &Parts<'_>) -> Result<(), OpenError> {
    match bus.scheme {
        "memory" => {
            bus.nothing_but_parameters()?;
            bus.only(&[])
        }
        #[cfg(feature = "kafka")]
        "kafka" => open_kafka::bus_options(bus).map(|_| ()),
        #[cfg(not(feature = "kafka"))]
        "kafka" => Err(bus.not_built("kafka")),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => bus_options(bus).map(|_| ()),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(bus.not_built("postgres")),
        _ => Err(bus.unknown_scheme(&["memory", "kafka", "postgres"])),
    }
}

fn check_store(store: &Parts<'_>) -> Result<(), OpenError> {
    match store.scheme {
        "memory" => {
            store.nothing_but_parameters()?;
            store.only(&[])
        }
        "sqlite" if cfg!(not(feature = "sqlite")) => Err(store.not_built("sqlite")),
        "sqlite" => {
            store.only(&[])?;
            if store.path().is_empty() { Err(store.bad("a file name must follow sqlite:")) } else { Ok(()) }
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => store_options(store).map(|_| ()),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(store.not_built("postgres")),
        _ => Err(store.unknown_scheme(&["memory", "sqlite", "postgres"])),
    }
}

async fn open_store(store: &Parts<'_>, urls: &Urls) -> Result<Store, OpenError> {
    check_store(store)?;
    match store.scheme {
        "memory" => {
            let store = Arc::new(MemoryStore::default());
            Ok(Store {
                polls: Arc::clone(&store) as Arc<dyn PollStore>,
                tallies: store,
                #[cfg(feature = "sqlite")]
                sqlite: None,
                #[cfg(feature = "postgres")]
                postgres: None,
            })
        }
        "sqlite" => open_sqlite(store, urls).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => open_postgres(store).await,
        _ => Err(store.unknown_scheme(&["memory", "sqlite", "postgres"])),
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(store: &Parts<'_>, urls: &Urls) -> Result<Store, OpenError> {
    // Both `sqlite:polling.db` and `sqlite:///var/lib/polling.db` are in use elsewhere.
    let path = store.path().strip_prefix("//").unwrap_or(store.path());
    let file = urls.data_dir.join(path);
    let options = SqliteOptions::default();
    let store = Arc::new(SqliteStore::open(&file, options).await?);
    Ok(Store {
        polls: Arc::clone(&store) as Arc<dyn PollStore>,
        tallies: Arc::clone(&store) as Arc<dyn TallyStore>,
        sqlite: Some(store),
        #[cfg(feature = "postgres")]
        postgres: None,
    })
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn open_sqlite(store: &Parts<'_>, _urls: &Urls) -> Result<Store, OpenError> {
    Err(store.not_built("sqlite"))
}

/// Claims the schema of a store at a server for a log in this process.
#[cfg(feature = "postgres")]
async fn claim(store: &Parts<'_>) -> Result<Option<Arc<PostgresClaim>>, OpenError> {
    check_store(store)?;
    if !matches!(store.scheme, "postgres" | "postgresql") {
        return Ok(None);
    }
    let claimed = PostgresClaim::stake(&store_options(store)?).await;
    claimed.map(|claim| Some(Arc::new(claim))).map_err(|source| OpenError::Postgres { role: "store", source })
}

#[cfg(feature = "postgres")]
async fn open_postgres(store: &Parts<'_>) -> Result<Store, OpenError> {
    let opened = PostgresStore::open(&store_options(store)?).await;
    let store = Arc::new(opened.map_err(|source| OpenError::Postgres { role: "store", source })?);
    Ok(Store {
        polls: Arc::clone(&store) as Arc<dyn PollStore>,
        tallies: Arc::clone(&store) as Arc<dyn TallyStore>,
        #[cfg(feature = "sqlite")]
        sqlite: None,
        postgres: Some(store),
    })
}

pub(crate) async fn open_bus(bus: &Parts<'_>) -> Result<Arc<dyn UpdateBus>, OpenError> {
    match bus.scheme {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let opened = PostgresBus::open(&bus_options(bus)?).await;
            Ok(Arc::new(opened.map_err(|source| OpenError::Postgres { role: "bus", source })?))
        }
        _ => Ok(Arc::new(MemoryBus::new())),
    }
}

/// What bringing the tables of a store up to date did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Migrated {
    /// The store does it by itself whenever it is opened, or keeps nothing.
    WhenOpened,
    /// The tables had the first version, 0 for none, and have the second.
    Versions(i64, i64),
}

/// Makes the tables of the store or brings them up to date, with the rights of the user that its URL names; then programs that only use them
/// need no right to change them.
///
/// # Errors
///
/// See [`OpenError`]. Tables of a newer program are left as they are.
///
/// # Cancellation
///
/// Each step is a transaction: dropping the future leaves the tables at some version, from which the next call goes on.
#[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "the same signature as with the feature"))]
pub async fn migrate(urls: &Urls) -> Result<Migrated, OpenError> {
    let store = Parts::of("store", &urls.store);
    check_store(&store)?;
    #[cfg(feature = "postgres")]
    if matches!(store.scheme, "postgres" | "postgresql") {
        let migrated = crate::store::postgres::migrate(&store_options(&store)?).await;
        let migrated = migrated.map_err(|source| OpenError::Postgres { role: "store", source })?;
        return Ok(Migrated::Versions(migrated.from, migrated.to));
    }
    Ok(Migrated::WhenOpened)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(log: &str, store: &str, bus: &str) -> String {
        let urls = Urls { log: log.into(), store: store.into(), bus: bus.into(), data_dir: PathBuf::new() };
        open(&urls).await.map(|_| ()).expect_err("it is wrong").to_string()
    }

    #[tokio::test]
    async fn memory_is_always_there() {
        let urls =
            Urls { log: "memory:?capacity=9".into(), store: "memory:".into(), bus: "memory:".into(), data_dir: PathBuf::new() };
        assert!(open(&urls).await.is_ok_and(|backends| backends.memory_log.is_some()));
    }

    #[tokio::test]
    async fn mistakes_are_named_with_the_nearest_known_name() {
        assert_eq!(
            error("memroy:", "memory:", "memory:").await,
            "the log \"memroy:\" has an unknown scheme \"memroy\", did you mean \"memory\"?; known are memory, kafka"
        );
        assert_eq!(
            error("memory:?capacty=1", "memory:", "memory:").await,
            "the log \"memory:?capacty=1\" has an unknown parameter \"capacty\", did you mean \"capacity\"?"
        );
        assert_eq!(
            error("memory:?capacity=0", "memory:", "memory:").await,
            "the log \"memory:?capacity=0\" cannot be used: capacity must be a number between 1 and 10000000"
        );
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn what_was_closed_can_be_opened_again_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let urls =
            Urls { log: "memory:".into(), store: "sqlite:a.db".into(), bus: "memory:".into(), data_dir: folder.path().into() };
        let first = open(&urls).await.expect("opened");
        assert!(open(&urls).await.is_err(), "in use");
        first.shut_down().await;
        open(&urls).await.expect("opened again");
        first.shut_down().await;
    }

    #[test]
    fn a_check_finds_the_mistakes_of_every_url() {
        let urls = Urls { log: "a:".into(), store: "memory:?b=1".into(), bus: "memory:c".into(), data_dir: PathBuf::new() };
        assert_eq!(check(&urls).len(), 3);
        assert!(check(&urls).iter().all(OpenError::is_configuration));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_check_of_a_server_opens_nothing_and_prints_no_password() {
        let errors = |store: &str, bus: &str| -> Vec<String> {
            let urls = Urls { log: "memory:".into(), store: store.into(), bus: bus.into(), data_dir: PathBuf::new() };
            check(&urls).iter().map(ToString::to_string).collect()
        };
        let server = "postgres://me:hush@db.example:5433/polls";
        let all = "?schema=live&counting-connections=3&read-connections=9&admin-connections=1&connect-timeout=1s\
            &statement-timeout=2s&counting-timeout=1m&lock-timeout=500ms&accept-lossy-server=true";
        assert_eq!(errors(&format!("{server}{all}"), &format!("{server}?schema=live")), [""; 0]);
        let shown = "postgres://me:(redacted)@db.example:5433/polls";
        for (parameters, complaint) in [
            ("?schem=live", "has an unknown parameter \"schem\", did you mean \"schema\"?"),
            (
                "?schema=Live",
                "cannot be used: schema must be 1 to 40 lower case letters, digits and underscores, and begin with a letter",
            ),
            ("?read-connections=1", "cannot be used: read-connections must be a number between 2 and 200"),
            ("?lock-timeout=5", "cannot be used: lock-timeout must be a time such as 500ms or 5s, at most 600 s"),
            ("?tls=on", "cannot be used: tls must be disable, prefer, require or verify-full"),
            ("?accept-lossy-server=yes", "cannot be used: accept-lossy-server must be true or false"),
        ] {
            assert_eq!(
                errors(&format!("{server}{parameters}"), "memory:"),
                [format!("the store \"{shown}{parameters}\" {complaint}")]
            );
        }
        assert!(errors("memory:", &format!("{server}?lock-timeout=5s"))[0].contains("unknown parameter"), "not of a bus");
        for password in ["hu/sh", "hu?sh", "hu#sh", "hu?sh&hu", "hu@sh", "/hush", "hu?schema=sh"] {
            for (url, port) in
                [("postgres", ":5432"), ("kafka", ""), ("kafka", ":9092"), ("postgers", ""), ("postgres:hush@", "")]
            {
                let url = format!("{url}://me:{password}@db{port}/polls");
                for error in errors(&url, &url) {
                    assert!(!error.contains("hu") && !error.contains("sh"), "{url}: {error}");
                }
            }
        }
        for (url, missing) in
            [("postgres://db/polls", "user"), ("postgres://me@/polls", "host"), ("postgres://me@db", "database")]
        {
            assert!(errors(url, "memory:")[0].contains(missing), "{url}: {:?}", errors(url, "memory:"));
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[tokio::test]
    async fn a_backend_that_was_not_built_in_is_named_without_its_password() {
        let text = error("memory:", "postgres://me:hush@db/polls", "memory:").await;
        assert_eq!(text, "the store \"postgres://me:(redacted)@db/polls\" needs a program built with the feature \"postgres\"");
    }
}
