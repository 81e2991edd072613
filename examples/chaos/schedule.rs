//! What is broken when: one fault, or many that overlap, from a seed.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use voting::history::Planned;

use crate::arguments;

/// How long all is well before the first fault.
const CALM: Duration = Duration::from_secs(4);
/// Between the end of a fault and the next one in the same part of the system, at most: less than most things take to recover.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long a fault of a random schedule lasts, at least and at most: from a hiccup to more than any session lives.
const LASTS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

/// Something that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// The leader of a partition is killed.
    LeaderKill,
    /// The broker that decides who leads is killed.
    ControllerKill,
    /// The leader of a partition stands still.
    LeaderFreeze,
    /// A broker that only follows in that partition stands still.
    FollowerFreeze,
    /// Two of three brokers are killed: nothing can be acknowledged.
    TwoBrokersDown,
    /// All of ZooKeeper is killed.
    ZookeeperDown,
    /// A worker is killed.
    WorkerKill,
    /// A worker stands still until another has taken over, and wakes up.
    WorkerFreeze,
    /// Workers come and go.
    RebalanceStorm,
    /// PostgreSQL is killed with its sessions.
    DatabaseKill,
    /// PostgreSQL stands still.
    DatabaseFreeze,
    /// Some brokers' answers to votes are lost after the votes were appended.
    AckCut,
    /// Nothing is heard of a broker, whose connections stay.
    BrokerSilent,
    /// A broker hears its clients, and they do not hear it.
    BrokerOneWay,
    /// Some COMMITs, or the answers to them, are lost.
    CommitCut,
    /// Nothing is heard of the database, whose connections stay.
    DatabaseSilent,
    /// The way to the database takes a moment longer, each time.
    DatabaseSlow,
    /// Each server and each worker is stopped and started again, one after the other.
    RollingRestart,
    /// The leader of a partition is killed and started again, then the one that has followed it, and so on.
    LeaderChase,
    /// All of ZooKeeper is killed, and then a leader.
    ZookeeperDownLeaderKill,
    /// The leader of a partition cannot reach ZooKeeper; wants a cluster that can cut and heal.
    LeaderWithoutZookeeper,
    /// No broker can reach the leader of a partition; wants a cluster that can cut and heal.
    LeaderWithoutFollowers,
    /// The disk of a leader is full; wants a cluster that can fill and free.
    DiskFull,
    /// Records that are no votes are written to the log, short ones and one of a mebibyte.
    Poison,
    /// News cannot pass between workers and servers.
    BusDown,
    /// A worker is killed while news cannot pass.
    BusDownWorkerKill,
    /// Some of the news gets lost on its way to the brokers, or the answer to it does.
    BusCut,
    /// All sockets of many watchers are dropped at once.
    SocketsDropped,
    /// The clock of a server jumps five minutes ahead, and then five minutes back; wants the path of libfaketime.
    ClockJump,
    /// Everything is stopped and started again, one thing after the other: servers, workers, brokers, ZooKeeper, PostgreSQL.
    RollingRestartOfAll,
}

/// Parts of the system of which only one thing is broken at a time, because what breaks it would get in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Brokers,
    Zookeeper,
    Programs,
    Database,
    WayToBrokers,
    WayToDatabase,
    WayToServers,
    Log,
    /// More than one, or what not every cluster can do: such a fault is no part of random schedules.
    Several,
}

impl Part {
    /// Those in which something is broken at random.
    const OF_RANDOM: [Self; 8] = [
        Self::Brokers,
        Self::Zookeeper,
        Self::Programs,
        Self::Database,
        Self::WayToBrokers,
        Self::WayToDatabase,
        Self::WayToServers,
        Self::Log,
    ];
}

impl Fault {
    pub(crate) const ALL: [Self; 30] = [
        Self::LeaderKill,
        Self::ControllerKill,
        Self::LeaderFreeze,
        Self::FollowerFreeze,
        Self::TwoBrokersDown,
        Self::ZookeeperDown,
        Self::WorkerKill,
        Self::WorkerFreeze,
        Self::RebalanceStorm,
        Self::DatabaseKill,
        Self::DatabaseFreeze,
        Self::AckCut,
        Self::BrokerSilent,
        Self::BrokerOneWay,
        Self::CommitCut,
        Self::DatabaseSilent,
        Self::DatabaseSlow,
        Self::RollingRestart,
        Self::LeaderChase,
        Self::ZookeeperDownLeaderKill,
        Self::LeaderWithoutZookeeper,
        Self::LeaderWithoutFollowers,
        Self::DiskFull,
        Self::Poison,
        Self::BusDown,
        Self::BusDownWorkerKill,
        Self::BusCut,
        Self::SocketsDropped,
        Self::ClockJump,
        Self::RollingRestartOfAll,
    ];

    pub(crate) fn name(self) -> String {
        arguments::name(&self)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// How long it lasts when it is alone: long enough to be missed by whoever watches over the node.
    const fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Self::DatabaseKill => 5,
            Self::WorkerKill | Self::AckCut | Self::CommitCut | Self::DatabaseSlow => 10,
            // These last as long as they take, or no time at all.
            Self::RollingRestart | Self::RollingRestartOfAll | Self::LeaderChase | Self::Poison | Self::SocketsDropped => 1,
            Self::RebalanceStorm | Self::ZookeeperDown | Self::ClockJump => 20,
            Self::BusDown
            | Self::BusDownWorkerKill
            | Self::LeaderWithoutZookeeper
            | Self::LeaderWithoutFollowers
            | Self::DiskFull => 30,
            Self::ZookeeperDownLeaderKill => 60,
            _ => 15,
        })
    }

    pub(crate) const fn part(self) -> Part {
        match self {
            Self::LeaderKill | Self::ControllerKill | Self::LeaderFreeze | Self::FollowerFreeze | Self::TwoBrokersDown => {
                Part::Brokers
            }
            Self::ZookeeperDown => Part::Zookeeper,
            Self::WorkerKill | Self::WorkerFreeze | Self::RebalanceStorm | Self::RollingRestart => Part::Programs,
            Self::DatabaseKill | Self::DatabaseFreeze => Part::Database,
            Self::AckCut | Self::BrokerSilent | Self::BrokerOneWay => Part::WayToBrokers,
            Self::CommitCut | Self::DatabaseSilent | Self::DatabaseSlow => Part::WayToDatabase,
            Self::SocketsDropped => Part::WayToServers,
            Self::Poison => Part::Log,
            Self::LeaderChase
            | Self::ZookeeperDownLeaderKill
            | Self::LeaderWithoutZookeeper
            | Self::LeaderWithoutFollowers
            | Self::DiskFull
            | Self::BusDown
            | Self::BusDownWorkerKill
            | Self::BusCut
            | Self::ClockJump
            | Self::RollingRestartOfAll => Part::Several,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One fault, once.
pub(crate) fn single(fault: Fault) -> Vec<Planned> {
    vec![Planned { fault: fault.name(), at_ms: millis(CALM), for_ms: millis(fault.lasts()) }]
}

/// Faults in every part of the system, for so long.
pub(crate) fn random(seed: u64, lasts: Duration) -> Vec<Planned> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (end, [shortest, longest]) = (millis(CALM + lasts), LASTS.map(millis));
    let mut planned = Vec::new();
    for part in Part::OF_RANDOM {
        let faults: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.part() == part).collect();
        let mut at_ms = millis(CALM) + random.random_range(0..millis(PAUSE_MAX));
        while at_ms < end {
            let fault = faults[random.random_range(0..faults.len())];
            let for_ms = random.random_range(shortest..=longest).min(end - at_ms);
            planned.push(Planned { fault: fault.name(), at_ms, for_ms });
            at_ms += for_ms + random.random_range(0..millis(PAUSE_MAX));
        }
    }
    planned.sort_by_key(|planned| planned.at_ms);
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(&fault.name()), Some(fault));
        }
        assert_eq!(Fault::value_variants().len(), Fault::ALL.len());
    }

    #[test]
    fn a_random_schedule_comes_from_its_seed_overlaps_and_ends() {
        let lasts = Duration::from_secs(120);
        let planned = random(5, lasts);
        assert_eq!(planned, random(5, lasts));
        assert_ne!(planned, random(6, lasts));
        assert!(planned.iter().all(|planned| planned.at_ms + planned.for_ms <= millis(CALM + lasts)));
        assert!(planned.windows(2).any(|pair| pair[0].at_ms + pair[0].for_ms > pair[1].at_ms), "{planned:?}");
        for part in [Part::Brokers, Part::Database] {
            let own = planned.iter().filter(|planned| Fault::parse(&planned.fault).is_some_and(|fault| fault.part() == part));
            let own: Vec<&Planned> = own.collect();
            assert!(own.windows(2).all(|pair| pair[0].at_ms + pair[0].for_ms <= pair[1].at_ms), "{own:?}");
        }
    }
}
