//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::schedule::Fault;

const EXAMPLES: &str = "\
Examples:
  chaos --cluster ./cluster --fault leader-kill --fault worker-freeze --rounds 5
  chaos --cluster ./cluster --random --for 1h --seed 3
  chaos --cluster ./cluster --all --rounds 5
  chaos --cluster ./cluster --replay history-3.jsonl
  chaos --check history-3.jsonl

The command of --cluster is run in a shell with one of these verbs: kill, freeze, thaw and start, followed by nodes (kafka1, zk1,
postgres); leader TOPIC PARTITION and controller, which print a node; wait, which ends when all nodes are well. Some faults want more:
restart NODE; cut NODE zookeeper and cut NODE brokers, after which that broker hears nothing of ZooKeeper or of the brokers that follow
it, and heal with the same words; fill NODE, after which the disk of that broker is full, and free NODE. KAFKA_BROKERS and
DATABASE_URL say where its brokers and its database are. Brokers with one more listener (they advertise KAFKA_PROXY_LISTEN there,
and really have it at KAFKA_PROXY_TARGET) can be cut off from their clients.

Each run has topics and a schema of its own, and removes them. Exit status: 0 all promises were kept, 1 one was broken,
2 the run could not be done.";

/// Breaks a cluster while people vote, and proves that no acknowledged vote is lost or counted twice.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The command that breaks and mends the nodes of the cluster.
    #[arg(long, value_name = "COMMAND", required_unless_present = "check")]
    pub(crate) cluster: Option<String>,
    /// What to break; may be given several times: a run for each.
    #[arg(long = "fault", value_enum)]
    pub(crate) faults: Vec<Fault>,
    /// Break everything at once, at random.
    #[arg(long, conflicts_with = "faults")]
    pub(crate) random: bool,
    /// Break everything there is, one thing after the other; then stop partitions, and break promises, in every way there is.
    #[arg(long, conflicts_with_all = ["faults", "random"])]
    pub(crate) all: bool,
    /// How long to break at random: 90s, 5m or 1h.
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    pub(crate) lasts: Duration,
    /// Run the schedule and the seed of this history again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["faults", "random", "rounds"])]
    pub(crate) replay: Option<PathBuf>,
    /// Only judge this history.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cluster", "faults", "random", "replay"])]
    pub(crate) check: Option<PathBuf>,
    /// Runs of each fault, each with the next seed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) rounds: u64,
    /// Seed of the first run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Votes a second, about.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) rate: u32,
    /// Watchers of all polls at each server; absent: two, and a hundred where nothing but their sockets is dropped.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) watchers: Option<u16>,
    /// The program of the server; absent: the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,
    /// The program of the worker; absent: the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: Option<PathBuf>,
    /// Where histories and the logs of the programs are kept; absent: only what a failed run needs, in the folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) histories: Option<PathBuf>,
    /// The library that gives a program another clock, for the faults that want it.
    #[arg(long, value_name = "FILE")]
    pub(crate) faketime: Option<PathBuf>,
    /// Do to the log what must stop a partition: the exit status is 0 when it stops with an alarm, and nothing is passed over.
    #[arg(long, value_enum, conflicts_with_all = ["faults", "random", "all", "sabotage"])]
    pub(crate) stop: Option<Stop>,
    /// Break a promise on purpose: the exit status is 0 when the checks find that, and 1 when they do not.
    #[arg(long, value_enum, conflicts_with = "all")]
    pub(crate) sabotage: Option<Sabotage>,
}

/// What must stop a partition with an alarm, because it cannot be counted any more as if nothing had happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stop {
    /// Records that nobody has counted are deleted while no worker runs, as by a retention that is too short.
    RecordsDeleted,
    /// A newer program has written a record.
    NewerVersion,
}

/// How a promise is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// The checkpoint of a partition is moved past votes that nobody has counted, as by a worker that starts at the end of the log.
    Skip,
    /// The checkpoint of a partition is moved back, as by a worker that wakes up late where checkpoints are not compared.
    Rewind,
    /// A vote is added to a tally once more, as by a worker that adds what it read and not what was really inserted.
    Double,
    /// A broker alone may acknowledge, and one that lacks votes may lead.
    Forget,
    /// The bus carries differences where it must carry totals.
    Deltas,
}

impl Stop {
    pub(crate) fn name(self) -> String {
        name(&self)
    }
}

impl Sabotage {
    pub(crate) fn name(self) -> String {
        name(&self)
    }
}

/// As it stands on the command line.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Beyond it, it is a mistake.
const SECONDS_MAX: u64 = 7 * 86_400;

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number of seconds, minutes or hours: 90s, 5m or 1h, and at most a week".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["chaos"]).is_err(), "a cluster must be named");
        assert!(Arguments::try_parse_from(["chaos", "--check", "x"]).is_ok());
        let given = Arguments::try_parse_from(["chaos", "--cluster", "x", "--fault", "leader-kill", "--fault", "ack-cut"]);
        assert_eq!(given.expect("sound").faults, [Fault::LeaderKill, Fault::AckCut]);
        assert!(Arguments::try_parse_from(["chaos", "--cluster", "x", "--all", "--sabotage", "skip"]).is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["", "5", "h", "0s", "1d", "9999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
