//! The nodes of the cluster, broken and mended by a command.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;
use voting::{Failure, failure};

/// How long the command may take: a broker that recovers its log takes most of a minute on a busy machine.
const COMMAND_MAX: Duration = Duration::from_secs(180);

/// How long an election may take while other things are broken, too.
const ELECTED_WITHIN: Duration = Duration::from_secs(60);
/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where the cluster is, and what breaks it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    command: String,
    /// `HOST:PORT` of each broker.
    pub(crate) brokers: String,
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub(crate) database: String,
    /// What each broker advertises on its further listener, and where that listener is.
    pub(crate) listeners: Vec<(String, String)>,
}

impl Cluster {
    /// Takes the addresses from the environment.
    pub(crate) fn from_environment(command: &str) -> Result<Self, Failure> {
        let value = |name: &str| std::env::var(name).map_err(|_| failure(format!("{name} is not set")));
        let list = |name: &str| std::env::var(name).unwrap_or_default();
        let (advertised, real) = (list("KAFKA_PROXY_LISTEN"), list("KAFKA_PROXY_TARGET"));
        let listeners = advertised.split(',').zip(real.split(',')).filter(|(advertised, _)| !advertised.is_empty());
        Ok(Self {
            command: command.to_owned(),
            brokers: value("KAFKA_BROKERS")?,
            database: value("DATABASE_URL")?,
            listeners: listeners.map(|(advertised, real)| (advertised.to_owned(), real.to_owned())).collect(),
        })
    }

    /// The names of the brokers.
    pub(crate) fn broker_names(&self) -> Vec<String> {
        (1..=self.brokers.split(',').count()).map(|number| format!("kafka{number}")).collect()
    }

    /// `HOST:PORT` of the database.
    pub(crate) fn database_host(&self) -> Result<String, Failure> {
        let host = self.database.rsplit_once('@').and_then(|(_, rest)| rest.split('/').next());
        host.map(str::to_owned).ok_or_else(|| failure("DATABASE_URL has no user and no host".to_owned()))
    }

    /// Runs the command with this verb.
    pub(crate) async fn run(&self, verb: &str, nodes: &[&str]) -> Result<String, Failure> {
        let line = format!("{} {verb} {}", self.command, nodes.join(" "));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_MAX, shell.output()).await;
        let output = output.map_err(|_| failure(format!("it takes too long: {line}")))?;
        let output = output.map_err(|error| failure(format!("{line:?} cannot be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failure(format!("{line:?} failed: {}", said.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The leader of the first partition, once there is one. Votes are spread by voter, so all partitions are equally busy.
    pub(crate) async fn leader(&self, topic: &str) -> Result<String, Failure> {
        self.elected("leader", &[topic, "0"]).await
    }

    /// The broker that decides who leads, once there is one.
    pub(crate) async fn controller(&self) -> Result<String, Failure> {
        self.elected("controller", &[]).await
    }

    async fn elected(&self, verb: &str, of: &[&str]) -> Result<String, Failure> {
        let give_up = Instant::now() + ELECTED_WITHIN;
        loop {
            match self.run(verb, of).await {
                Err(_) if Instant::now() < give_up => tokio::time::sleep(ASK_AGAIN).await,
                answered => return answered,
            }
        }
    }
}
