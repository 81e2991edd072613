//! How each fault is done, and undone.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use voting::history::{Planned, What};
use voting::proxy::{Cut, Way};
use voting::{Failure, failure};

use crate::program::Program;
use crate::schedule::Fault;
use crate::world::{World, is_ready};

/// Shares of the requests that are cut.
const ANSWERS_CUT: f64 = 0.05;
const COMMITS_CUT: f64 = 0.2;
/// How much later everything comes through a slow way.
const SLOW: Duration = Duration::from_millis(50);
/// How long a worker stays in a storm of them.
const WORKER_STAYS: Duration = Duration::from_millis(2500);
/// The nodes of ZooKeeper.
const ZOOKEEPER: [&str; 3] = ["zk1", "zk2", "zk3"];
const DATABASE: &str = "postgres";

/// Does what is planned, when it is due, and undoes it.
pub(crate) async fn inject(world: &World, planned: &Planned, seed: u64) -> Result<(), Failure> {
    let fault = Fault::parse(&planned.fault).ok_or_else(|| failure(format!("unknown fault {:?}", planned.fault)))?;
    let due = Duration::from_millis(planned.at_ms.saturating_sub(world.recorder.now_ms()));
    tokio::time::sleep(due).await;
    let injected = Injected { world, name: fault.name(), lasts: Duration::from_millis(planned.for_ms) };
    let mut random = SmallRng::seed_from_u64(seed ^ planned.at_ms);
    injected.run(fault, &mut random).await
}

struct Injected<'a> {
    world: &'a World,
    name: String,
    lasts: Duration,
}

impl Injected<'_> {
    async fn run(&self, fault: Fault, random: &mut SmallRng) -> Result<(), Failure> {
        let Self { world, .. } = self;
        let worker = &world.workers[random.random_range(0..world.workers.len())];
        let broker_way = random.random_range(0..world.broker_ways.len().max(1));
        match fault {
            Fault::LeaderKill => self.kill(&[&self.leader().await?]).await,
            Fault::ControllerKill => self.kill(&[&world.cluster.controller().await?]).await,
            Fault::LeaderFreeze => self.freeze(&[&self.leader().await?]).await,
            Fault::FollowerFreeze => self.freeze(&[&self.follower().await?]).await,
            Fault::TwoBrokersDown => self.kill(&[&self.leader().await?, &self.follower().await?]).await,
            Fault::ZookeeperDown => self.kill(&ZOOKEEPER).await,
            Fault::WorkerKill => self.kill_worker(worker).await,
            Fault::WorkerFreeze => self.freeze_worker(worker).await,
            Fault::RebalanceStorm => self.storm().await,
            Fault::DatabaseKill => self.kill(&[DATABASE]).await,
            Fault::DatabaseFreeze => self.freeze(&[DATABASE]).await,
            Fault::AckCut => self.cut_answers().await,
            Fault::BrokerSilent => self.block_broker(broker_way, Way::Silent).await,
            Fault::BrokerOneWay => self.block_broker(broker_way, Way::AnswersHeld).await,
            Fault::CommitCut => self.cut_commits().await,
            Fault::DatabaseSilent => self.block_database(Way::Silent).await,
            Fault::DatabaseSlow => self.block_database(Way::Slow(SLOW)).await,
            Fault::RollingRestart => self.restart_all().await,
        }
    }

    fn note(&self, done: impl Into<String>) {
        self.world.recorder.note(What::Fault { fault: self.name.clone(), done: done.into() });
    }

    async fn leader(&self) -> Result<String, Failure> {
        self.world.cluster.leader(&self.world.topic()).await
    }

    async fn follower(&self) -> Result<String, Failure> {
        let leader = self.leader().await?;
        let follower = self.world.cluster.broker_names().into_iter().find(|name| *name != leader);
        follower.ok_or_else(|| failure("there is only one broker".to_owned()))
    }

    async fn kill(&self, nodes: &[&str]) -> Result<(), Failure> {
        self.between("kill", "start", nodes).await
    }

    async fn freeze(&self, nodes: &[&str]) -> Result<(), Failure> {
        self.between("freeze", "thaw", nodes).await
    }

    async fn between(&self, before: &str, after: &str, nodes: &[&str]) -> Result<(), Failure> {
        self.note(format!("{before} {}", nodes.join(" ")));
        self.world.cluster.run(before, nodes).await?;
        tokio::time::sleep(self.lasts).await;
        self.note(format!("{after} {}", nodes.join(" ")));
        self.world.cluster.run(after, nodes).await.map(drop)
    }

    async fn kill_worker(&self, worker: &Mutex<Program>) -> Result<(), Failure> {
        let mut worker = worker.lock().await;
        self.note("kill a worker");
        worker.kill().await?;
        tokio::time::sleep(self.lasts).await;
        self.note("start it again");
        worker.start_again().await
    }

    async fn freeze_worker(&self, worker: &Mutex<Program>) -> Result<(), Failure> {
        let worker = worker.lock().await;
        self.note("freeze a worker");
        worker.freeze()?;
        tokio::time::sleep(self.lasts).await;
        self.note("thaw it");
        worker.thaw()
    }

    /// Workers come and go, now with a word and now without.
    async fn storm(&self) -> Result<(), Failure> {
        let end = tokio::time::Instant::now() + self.lasts;
        let mut is_polite = false;
        while tokio::time::Instant::now() < end {
            self.note("start one worker more");
            let mut worker = self.world.another_worker()?;
            tokio::time::sleep(WORKER_STAYS).await;
            is_polite = !is_polite;
            self.note(if is_polite { "stop it" } else { "kill it" });
            if is_polite { worker.stop().await? } else { worker.kill().await? }
        }
        Ok(())
    }

    async fn cut_answers(&self) -> Result<(), Failure> {
        self.require_broker_ways()?;
        self.note(format!("lose {ANSWERS_CUT} of the answers of brokers to votes"));
        self.world.broker_ways.iter().for_each(|way| way.cut(Some((Cut::Answer, ANSWERS_CUT))));
        tokio::time::sleep(self.lasts).await;
        self.world.broker_ways.iter().for_each(|way| way.cut(None));
        let cuts: u64 = self.world.broker_ways.iter().map(voting::proxy::Proxy::cuts).sum();
        self.note(format!("lose no more; {cuts} in all"));
        Ok(())
    }

    async fn cut_commits(&self) -> Result<(), Failure> {
        self.note(format!("lose {COMMITS_CUT} of the commits, or the answers to them"));
        self.world.database_way.cut(Some((Cut::Either, COMMITS_CUT)));
        tokio::time::sleep(self.lasts).await;
        self.world.database_way.cut(None);
        self.note(format!("lose no more; {} in all", self.world.database_way.cuts()));
        Ok(())
    }

    async fn block_broker(&self, number: usize, way: Way) -> Result<(), Failure> {
        self.require_broker_ways()?;
        self.note(format!("the way to kafka{} is {way:?}", number + 1));
        self.world.broker_ways[number].set(way);
        tokio::time::sleep(self.lasts).await;
        self.note("it is open again");
        self.world.broker_ways[number].set(Way::Open);
        Ok(())
    }

    async fn block_database(&self, way: Way) -> Result<(), Failure> {
        self.note(format!("the way to the database is {way:?}"));
        self.world.database_way.set(way);
        tokio::time::sleep(self.lasts).await;
        self.note("it is open again");
        self.world.database_way.set(Way::Open);
        Ok(())
    }

    async fn restart_all(&self) -> Result<(), Failure> {
        for (kind, programs) in [("server", &self.world.servers), ("worker", &self.world.workers)] {
            for (number, program) in programs.iter().enumerate() {
                let mut program = program.lock().await;
                self.note(format!("restart {kind} {}", number + 1));
                program.stop().await?;
                program.start_again().await?;
                is_ready(&program).await?;
            }
        }
        self.note("all are restarted");
        Ok(())
    }

    fn require_broker_ways(&self) -> Result<(), Failure> {
        if self.world.broker_ways.is_empty() {
            return Err(failure("KAFKA_PROXY_LISTEN and KAFKA_PROXY_TARGET are not set".to_owned()));
        }
        Ok(())
    }
}
