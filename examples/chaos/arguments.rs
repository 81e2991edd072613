//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::schedule::Fault;

const EXAMPLES: &str = "\
Examples:
  chaos --cluster ./cluster --fault leader-kill --fault worker-freeze --rounds 5
  chaos --cluster ./cluster --random --for 1h --seed 3
  chaos --cluster ./cluster --replay history-3.jsonl
  chaos --check history-3.jsonl

The command of --cluster is run in a shell with one of these verbs: kill, freeze, thaw and start, followed by nodes (kafka1, zk1,
postgres); leader TOPIC PARTITION and controller, which print a node; wait, which ends when all nodes are well. KAFKA_BROKERS and
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
    /// The program of the server; absent: the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,
    /// The program of the worker; absent: the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: Option<PathBuf>,
    /// Where histories and the logs of the programs are kept; absent: only what a failed run needs, in the folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) histories: Option<PathBuf>,
    /// Break a promise on purpose, inside the database: the exit status is 0 when the checks find that, and 1 when they do not.
    #[arg(long, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// How a promise is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// The checkpoint of a partition is moved past votes that nobody has counted, as by a worker that starts at the end of the log.
    Skip,
    /// A vote is added to a tally once more, as by a worker that adds what it read and not what was really inserted.
    Double,
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
