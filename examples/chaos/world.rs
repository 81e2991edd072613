//! The whole system of a run: a cluster, ways to it that can be broken, two servers and two workers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polling_core::open::Urls;
use tokio::sync::Mutex;
use uuid::Uuid;
use voting::client::{Connection, Target};
use voting::history::Recorder;
use voting::proxy::{Protocol, Proxy};
use voting::{Failure, failure};

use crate::cluster::Cluster;
use crate::program::{Program, Recipe};

/// Servers, and workers.
const EACH: usize = 2;
/// Enough for two workers to share, few enough to be created at once.
const PARTITIONS: usize = 6;
/// How long the programs may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Between two looks whether they are.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer may take before a voter sends the vote again; longer than a server needs to say that it does not know.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// The shortest patience that brokers allow, so that a worker that is gone is missed within a run.
const IMPATIENT: &str = "librdkafka.session.timeout.ms=6000&librdkafka.heartbeat.interval.ms=1000";

/// Where the programs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Programs<'a> {
    pub(crate) server: &'a Path,
    pub(crate) worker: &'a Path,
    /// Gives a program another clock.
    pub(crate) faketime: Option<&'a Path>,
}

/// What not every run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    /// The ways to the brokers are those of the bus alone, and the log is not touched by what is done to them: brokers say of each of
    /// their listeners one address only, so that there is one way to a broker.
    pub(crate) bus_has_the_ways: bool,
    /// The last server goes by a clock that can be set.
    pub(crate) clock_can_be_set: bool,
}

/// Everything that a fault can reach.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Names the topics and the schema.
    name: String,
    /// One before each broker, when the brokers can be reached that way.
    pub(crate) broker_ways: Vec<Proxy>,
    pub(crate) database_way: Proxy,
    /// From watchers to each server.
    pub(crate) server_ways: Vec<Proxy>,
    /// Says how far the clock of the last server is ahead, where it can be set.
    clock: Option<PathBuf>,
    pub(crate) servers: Vec<Mutex<Program>>,
    pub(crate) workers: Vec<Mutex<Program>>,
    worker_recipe: Recipe,
    pub(crate) recorder: Arc<Recorder>,
}

impl World {
    /// Starts everything and waits until it is ready. Logs go to `folder`.
    pub(crate) async fn start(
        cluster: Cluster,
        programs: Programs<'_>,
        folder: &Path,
        (seed, special): (u64, Special),
        recorder: Arc<Recorder>,
    ) -> Result<Self, Failure> {
        let name = Uuid::new_v4().simple().to_string();
        let mut broker_ways = Vec::new();
        for (advertised, real) in &cluster.listeners {
            broker_ways.push(way(advertised, real, Protocol::Kafka, seed).await?);
        }
        let database_way = way("127.0.0.1:0", &cluster.database_host()?, Protocol::Postgres, seed).await?;
        let bootstrap: Vec<String> = broker_ways.iter().map(|way| way.address().to_string()).collect();
        let brokers = if bootstrap.is_empty() { cluster.brokers.clone() } else { bootstrap.join(",") };
        let log_brokers = if special.bus_has_the_ways { &cluster.brokers } else { &brokers };
        let database = cluster.database.replace(&cluster.database_host()?, &database_way.address().to_string());
        let urls = Urls { bus: bus(&name, &brokers), ..urls(&name, log_brokers, &database, folder) };
        let clock = special.clock_can_be_set.then(|| folder.join("clock"));
        let other_clock = clock.as_deref().map(|clock| other_clock(programs, clock)).transpose()?;
        let recipe = |kind: &str, path: &Path, number: usize, more: &[&str]| {
            let given = [&["--log", &urls.log, "--store", &urls.store, "--bus", &urls.bus], more].concat();
            let mut arguments: Vec<String> = given.into_iter().map(str::to_owned).collect();
            arguments.extend(["--data-dir".to_owned(), folder.display().to_string()]);
            let environment = other_clock.clone().filter(|_| (kind, number) == ("server", EACH)).unwrap_or_default();
            Recipe { name: format!("{kind}-{number}"), path: path.to_owned(), arguments, environment, folder: folder.to_owned() }
        };
        let worker_recipe = recipe("worker", programs.worker, EACH + 1, &[]);
        let mut world = Self {
            cluster,
            name,
            broker_ways,
            database_way,
            server_ways: Vec::new(),
            clock,
            servers: Vec::new(),
            workers: Vec::new(),
            worker_recipe,
            recorder: Arc::clone(&recorder),
        };
        for number in 1..=EACH {
            let server = recipe("server", programs.server, number, &["--listen", "127.0.0.1:0"]);
            world.servers.push(Mutex::new(Program::start(server, Arc::clone(&recorder))?));
            let worker = recipe("worker", programs.worker, number, &[]);
            world.workers.push(Mutex::new(Program::start(worker, Arc::clone(&recorder))?));
        }
        for program in world.servers.iter().chain(&world.workers) {
            is_ready(&*program.lock().await).await?;
        }
        for server in &world.servers {
            let address = server.lock().await.api().await?.to_string();
            world.server_ways.push(way("127.0.0.1:0", &address, Protocol::Other, seed).await?);
        }
        Ok(world)
    }

    /// Sets the clock of the last server so much ahead, or back.
    pub(crate) fn set_clock(&self, seconds: i64) -> Result<(), Failure> {
        let clock = self.clock.as_deref().ok_or_else(|| failure("no server goes by a clock that can be set".to_owned()))?;
        write_clock(clock, seconds)
    }

    pub(crate) fn topic(&self) -> String {
        format!("votes-{}", self.name)
    }

    pub(crate) fn bus_topic(&self) -> String {
        format!("updates-{}", self.name)
    }

    pub(crate) fn schema(&self) -> String {
        format!("chaos_{}", self.name)
    }

    /// Where news is published, not through anything that is broken.
    pub(crate) fn bus(&self) -> String {
        bus(&self.name, &self.cluster.brokers)
    }

    /// An auditor's own way to the log and the store: not through anything that is broken, in a group of its own, hearing no news.
    pub(crate) fn auditor(&self) -> Urls {
        let urls = urls(&self.name, &self.cluster.brokers, &self.cluster.database, Path::new("."));
        // A log that was weakened on purpose is read, too.
        Urls { log: format!("{}&group=audit-{}&accept-weak-topic=true", urls.log, self.name), bus: "memory:".to_owned(), ..urls }
    }

    /// Where watchers go.
    pub(crate) fn watched(&self) -> Result<Vec<Target>, Failure> {
        let target = |way: &Proxy| Target::parse(&format!("http://{}", way.address()), ANSWER_WITHIN);
        self.server_ways.iter().map(target).collect()
    }

    /// Where voters go.
    pub(crate) async fn targets(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for server in &self.servers {
            let address = server.lock().await.api().await?;
            targets.push(Target::parse(&format!("http://{address}"), ANSWER_WITHIN)?);
        }
        Ok(targets)
    }

    /// One worker more.
    pub(crate) fn another_worker(&self) -> Result<Program, Failure> {
        Program::start(self.worker_recipe.clone(), Arc::clone(&self.recorder))
    }
}

fn urls(name: &str, brokers: &str, database: &str, folder: &Path) -> Urls {
    Urls {
        log: format!("kafka://{brokers}/votes-{name}?partitions={PARTITIONS}&{IMPATIENT}"),
        store: format!("{database}?schema=chaos_{name}"),
        bus: bus(name, brokers),
        data_dir: folder.to_owned(),
    }
}

fn bus(name: &str, brokers: &str) -> String {
    format!("kafka://{brokers}/updates-{name}")
}

/// Has a program go by a clock of which a file says how far it is ahead. Time that only measures how long something takes stays as it is.
fn other_clock(programs: Programs<'_>, clock: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let library = programs.faketime.ok_or_else(|| failure("the path of libfaketime must be given for that".to_owned()))?;
    write_clock(clock, 0)?;
    Ok(vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// In one step, because the program reads it whenever it asks what time it is.
fn write_clock(clock: &Path, seconds: i64) -> Result<(), Failure> {
    let next = clock.with_extension("next");
    let written = std::fs::write(&next, format!("{seconds:+}\n")).and_then(|()| std::fs::rename(&next, clock));
    written.map_err(|error| failure(format!("{} cannot be written: {error}", clock.display())))
}

async fn way(address: &str, server: &str, protocol: Protocol, seed: u64) -> Result<Proxy, Failure> {
    let listens = address.parse().map_err(|_| failure(format!("{address:?} is not an address")))?;
    let started = Proxy::start(listens, server, protocol, seed).await;
    started.map_err(|error| failure(format!("{address} cannot be listened on: {error}")))
}

/// Waits until a program says that it is well.
pub(crate) async fn is_ready(program: &Program) -> Result<(), Failure> {
    let target = Target::parse(&format!("http://{}", program.admin().await?), ANSWER_WITHIN)?;
    let mut connection = Connection::new(target);
    let asking = async {
        loop {
            let uri = connection.target().path("/readyz")?;
            let answer = connection.send(hyper::Method::GET, uri, None).await;
            if answer.is_ok_and(|answer| answer.status == hyper::StatusCode::OK) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, asking).await.map_err(|_| failure("a program is not ready in time".to_owned()))?
}
