//! Topics, a consumer group and a schema that no other test uses.

use std::net::SocketAddr;
use std::path::PathBuf;

use futures_util::future::join_all;
use polling_core::open::{Backends, Urls, open};
use tempfile::TempDir;
use uuid::Uuid;

use crate::gate::Gate;
use crate::kafka;
use crate::postgres::Session;

/// Enough for several workers to share, few enough to be created at once.
const PARTITIONS: usize = 6;

/// Where clients connect that listen to the brokers' third listener, and where that listener is: clients that came through a gate
/// are told where the gates are. Brokers follow each other in the same order in both.
const GATES: &str = "KAFKA_PROXY_LISTEN";
const BEHIND_GATES: &str = "KAFKA_PROXY_TARGET";

/// Whether there can be gates to the brokers, or why not.
pub(crate) fn gates_are_told() -> Result<(), String> {
    let told = |name: &&str| std::env::var_os(name).is_some();
    [GATES, BEHIND_GATES].iter().find(|name| !told(name)).map_or(Ok(()), |name| Err(format!("{name} is not set")))
}

/// Where a test may do as it likes.
pub(crate) struct Place {
    brokers: String,
    database: String,
    name: String,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(brokers: &str, database: &str) -> Self {
        let name = Uuid::new_v4().simple().to_string();
        let folder = tempfile::tempdir().expect("a folder");
        Self { brokers: brokers.to_owned(), database: database.to_owned(), name, folder }
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// `HOST:PORT` of the database.
    pub(crate) fn database_host(&self) -> String {
        let (_, rest) = self.database.rsplit_once('@').expect("a user");
        rest.split('/').next().expect("a host").to_owned()
    }

    /// The database at another address.
    pub(crate) fn database_at(&self, address: SocketAddr) -> String {
        self.database.replace(&self.database_host(), &address.to_string())
    }

    pub(crate) fn topic(&self) -> String {
        format!("votes-{}", self.name)
    }

    pub(crate) fn schema(&self) -> String {
        format!("test_{}", self.name)
    }

    /// What servers and workers are given: a log and a bus in Kafka, a store in PostgreSQL.
    pub(crate) fn urls(&self) -> Urls {
        self.urls_through(&self.brokers, &self.database)
    }

    /// The same at other addresses. One broker is enough, and containers for tests do not sync.
    pub(crate) fn urls_through(&self, brokers: &str, database: &str) -> Urls {
        let (topic, schema, name) = (self.topic(), self.schema(), &self.name);
        Urls {
            log: format!("kafka://{brokers}/{topic}?partitions={PARTITIONS}&accept-weak-topic=true&group=group-{name}"),
            store: format!("{database}?schema={schema}&accept-lossy-server=true"),
            bus: format!("kafka://{brokers}/updates-{name}"),
            data_dir: self.folder.path().to_owned(),
        }
    }

    /// An auditor's own way to the log and the store: in a group of its own, and hearing no news.
    pub(crate) async fn open(&self) -> Backends {
        let urls = self.urls();
        let urls = Urls { log: format!("{}-audit", urls.log), bus: "memory:".to_owned(), data_dir: PathBuf::new(), ..urls };
        open(&urls).await.expect("the auditor opens the backends")
    }

    /// Gates to all brokers, at the addresses that those tell the clients who come through them.
    pub(crate) async fn gates_to_brokers(&self) -> Vec<Gate> {
        let addresses = |name| std::env::var(name).expect("it was looked at before the test");
        let (advertised, brokers) = (addresses(GATES), addresses(BEHIND_GATES));
        join_all(advertised.split(',').zip(brokers.split(',')).map(|(address, broker)| Gate::advertised(address, broker))).await
    }

    /// Removes what was made.
    pub(crate) async fn remove(&self) {
        kafka::remove(&self.brokers, &[&self.topic(), &format!("updates-{}", self.name)]).await;
        let mut session = Session::open(&self.database).await;
        session.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema())).await;
    }
}
