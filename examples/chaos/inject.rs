//! How each fault is done, and undone.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use voting::history::{Planned, What};
use voting::proxy::{Cut, Way};
use voting::{Failure, failure};

use crate::kafka;
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
const NEWS_CUT: f64 = 0.1;
/// The nodes of ZooKeeper.
pub(crate) const ZOOKEEPER: [&str; 3] = ["zk1", "zk2", "zk3"];
pub(crate) const DATABASE: &str = "postgres";
/// How often a leader is killed that is chased, and how long each is dead: long enough for another to lead.
const CHASED: usize = 5;
const CHASED_IS_DEAD: Duration = Duration::from_secs(8);
/// How long a leader is dead while there is no ZooKeeper: longer than any session lives.
const DEAD_WITHOUT_ZOOKEEPER: Duration = Duration::from_secs(10);
/// How far a clock jumps.
const CLOCK_JUMPS_SECONDS: i64 = 300;
/// Records of each partition that are no votes.
const FOREIGN_RECORDS: usize = 8;
/// A mebibyte, without what a broker counts beside it.
const LARGE_RECORD_BYTES: usize = (1 << 20) - 1024;

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
            Fault::RollingRestart => self.restart_programs().await,
            Fault::LeaderChase => self.chase().await,
            Fault::ZookeeperDownLeaderKill => self.kill_a_leader_without_zookeeper().await,
            Fault::LeaderWithoutZookeeper => self.cut_off(&[&self.leader().await?, "zookeeper"]).await,
            Fault::LeaderWithoutFollowers => self.cut_off(&[&self.leader().await?, "brokers"]).await,
            Fault::DiskFull => self.fill_a_disk().await,
            Fault::Poison => self.poison(random).await,
            Fault::BusDown => self.block_news().await,
            Fault::BusDownWorkerKill => self.kill_a_worker_without_news(worker).await,
            Fault::BusCut => self.cut_news().await,
            Fault::SocketsDropped => self.drop_sockets().await,
            Fault::ClockJump => self.move_the_clock().await,
            Fault::RollingRestartOfAll => self.restart_everything().await,
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
        self.each(after, nodes).await
    }

    /// All at once: a node of ZooKeeper is well only when most of the others are.
    async fn each(&self, verb: &str, nodes: &[&str]) -> Result<(), Failure> {
        let one = async |node: &&str| self.world.cluster.run(verb, &[node]).await.map(drop);
        join_all(nodes.iter().map(one)).await.into_iter().collect()
    }

    /// Without waiting for the others to be in sync: then votes wait, and none may be lost.
    async fn chase(&self) -> Result<(), Failure> {
        for _ in 0..CHASED {
            let leader = self.leader().await?;
            self.note(format!("kill {leader}"));
            self.world.cluster.run("kill", &[&leader]).await?;
            tokio::time::sleep(CHASED_IS_DEAD).await;
            self.note(format!("start {leader}"));
            self.world.cluster.run("start", &[&leader]).await?;
        }
        Ok(())
    }

    async fn kill_a_leader_without_zookeeper(&self) -> Result<(), Failure> {
        let leader = self.leader().await?;
        self.note("kill all of ZooKeeper");
        self.world.cluster.run("kill", &ZOOKEEPER).await?;
        tokio::time::sleep(self.lasts.saturating_sub(DEAD_WITHOUT_ZOOKEEPER)).await;
        self.note(format!("kill {leader}"));
        self.world.cluster.run("kill", &[&leader]).await?;
        tokio::time::sleep(DEAD_WITHOUT_ZOOKEEPER).await;
        self.note(format!("start ZooKeeper, and then {leader}"));
        self.each("start", &ZOOKEEPER).await?;
        self.world.cluster.run("start", &[&leader]).await.map(drop)
    }

    async fn cut_off(&self, of_what: &[&str]) -> Result<(), Failure> {
        self.note(format!("cut {}", of_what.join(" from ")));
        self.world.cluster.run("cut", of_what).await?;
        tokio::time::sleep(self.lasts).await;
        self.note(format!("heal; meanwhile {} leads", self.leader().await?));
        self.world.cluster.run("heal", of_what).await.map(drop)
    }

    /// A broker that cannot write ends; whether it has is no concern of the command that starts it.
    async fn fill_a_disk(&self) -> Result<(), Failure> {
        let leader = self.leader().await?;
        self.note(format!("fill the disk of {leader}"));
        self.world.cluster.run("fill", &[&leader]).await?;
        tokio::time::sleep(self.lasts).await;
        self.note("free it, and start the broker");
        self.world.cluster.run("free", &[&leader]).await?;
        self.world.cluster.run("start", &[&leader]).await.map(drop)
    }

    async fn poison(&self, random: &mut SmallRng) -> Result<(), Failure> {
        let (brokers, topic) = (&self.world.cluster.brokers, self.world.topic());
        let partitions = kafka::ends(brokers, &topic).await?.into_keys();
        self.note(format!(
            "write {FOREIGN_RECORDS} records that are no votes to each partition, the last of {LARGE_RECORD_BYTES} bytes"
        ));
        for partition in partitions {
            for number in 1..=FOREIGN_RECORDS {
                let length = if number == FOREIGN_RECORDS { LARGE_RECORD_BYTES } else { random.random_range(0..100) };
                // Its first field would be a number, and is of a kind that there is none of.
                let mut bytes = vec![0x0f; length];
                random.fill(bytes.get_mut(1..).unwrap_or_default());
                let offset = kafka::write(brokers, &topic, partition, &bytes).await?;
                self.world.recorder.note(What::Foreign { partition, offset });
            }
        }
        Ok(())
    }

    async fn block_news(&self) -> Result<(), Failure> {
        self.require_broker_ways()?;
        self.note("no news passes");
        self.world.broker_ways.iter().for_each(|way| way.set(Way::Refused));
        tokio::time::sleep(self.lasts).await;
        self.note("it passes again");
        self.world.broker_ways.iter().for_each(|way| way.set(Way::Open));
        Ok(())
    }

    async fn kill_a_worker_without_news(&self, worker: &Mutex<Program>) -> Result<(), Failure> {
        let (killed, blocked) = tokio::join!(self.kill_worker(worker), self.block_news());
        killed.and(blocked)
    }

    async fn cut_news(&self) -> Result<(), Failure> {
        self.require_broker_ways()?;
        self.note(format!("lose {NEWS_CUT} of the news, or the answers to it"));
        self.cut_on_all_ways(Cut::Either, NEWS_CUT).await;
        Ok(())
    }

    async fn drop_sockets(&self) -> Result<(), Failure> {
        self.note("drop all sockets, and refuse them");
        self.world.server_ways.iter().for_each(|way| way.set(Way::Refused));
        tokio::time::sleep(self.lasts).await;
        self.note("take them again");
        self.world.server_ways.iter().for_each(|way| way.set(Way::Open));
        Ok(())
    }

    async fn move_the_clock(&self) -> Result<(), Failure> {
        for (seconds, lasts) in
            [(CLOCK_JUMPS_SECONDS, self.lasts / 2), (-CLOCK_JUMPS_SECONDS, self.lasts / 2), (0, Duration::ZERO)]
        {
            self.note(format!("the clock of the last server is {seconds} s ahead"));
            self.world.set_clock(seconds)?;
            tokio::time::sleep(lasts).await;
        }
        Ok(())
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
        self.cut_on_all_ways(Cut::Answer, ANSWERS_CUT).await;
        Ok(())
    }

    async fn cut_on_all_ways(&self, cut: Cut, share: f64) {
        self.world.broker_ways.iter().for_each(|way| way.cut(Some((cut, share))));
        tokio::time::sleep(self.lasts).await;
        self.world.broker_ways.iter().for_each(|way| way.cut(None));
        let cuts: u64 = self.world.broker_ways.iter().map(voting::proxy::Proxy::cuts).sum();
        self.note(format!("lose no more; {cuts} in all"));
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

    async fn restart_everything(&self) -> Result<(), Failure> {
        self.restart_programs().await?;
        let brokers = self.world.cluster.broker_names();
        for node in brokers.iter().map(String::as_str).chain(ZOOKEEPER).chain([DATABASE]) {
            self.note(format!("restart {node}"));
            self.world.cluster.run("restart", &[node]).await?;
            // The next one only when all replicas are in sync, as anybody would do it who restarts a cluster.
            self.world.cluster.run("wait", &[]).await?;
        }
        self.note("everything is restarted");
        Ok(())
    }

    async fn restart_programs(&self) -> Result<(), Failure> {
        for (kind, programs) in [("server", &self.world.servers), ("worker", &self.world.workers)] {
            for (number, program) in programs.iter().enumerate() {
                let mut program = program.lock().await;
                self.note(format!("restart {kind} {}", number + 1));
                program.stop().await?;
                program.start_again().await?;
                is_ready(&program).await?;
            }
        }
        self.note("all programs are restarted");
        Ok(())
    }

    fn require_broker_ways(&self) -> Result<(), Failure> {
        if self.world.broker_ways.is_empty() {
            return Err(failure("KAFKA_PROXY_LISTEN and KAFKA_PROXY_TARGET are not set".to_owned()));
        }
        Ok(())
    }
}
