//! What can be asked for on the command line.

use std::time::Duration;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  broker_loss --url http://127.0.0.1:8080 --url http://127.0.0.1:8090
      sends votes, says what to kill, and waits until you have done so
  broker_loss --url http://127.0.0.1:8080 --url http://127.0.0.1:8090 --rounds 3 \\
      --kill 'docker compose kill kafka2' --revive 'docker compose up --detach --wait kafka2'
  broker_loss --url http://127.0.0.1:8080 --url http://127.0.0.1:8090 --what 'a worker' \\
      --kill 'docker compose kill worker1' --revive 'docker compose start worker1'

The commands run in a shell and see the number of the round as ROUND. Whatever they break, the question is the same: is every
acknowledged vote counted, and none twice? Exit status: 0 they are, 1 they are not, or a round did not recover, 2 the run could
not be done.";

/// Votes without a pause while something is killed, and proves from outside that no acknowledged vote is lost or counted twice.
#[derive(Debug, Clone, Parser)]
#[command(name = "broker_loss", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A server; at least two. A vote that one of them does not answer for good is sent to the next, under the same vote id.
    #[arg(long = "url", required = true)]
    pub(crate) urls: Vec<String>,
    /// What is killed, for the report.
    #[arg(long, default_value = "the leader of the busiest partition")]
    pub(crate) what: String,
    /// The command that kills it. Absent: it is said what to kill, and waited for.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) kill: Option<String>,
    /// The command that brings it back: once the system has recovered without it, and after --down-seconds in any case.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) revive: Option<String>,
    /// How often to kill.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Votes a second that are due, whether or not answers keep up.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) rate: u16,
    /// New polls, over which the votes are spread.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) polls: u16,
    /// Options of each poll.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub(crate) options: u8,
    /// Sockets that watch all of the polls, spread over the servers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) watchers: u16,
    /// Share of acknowledged votes that are sent once more under the same vote id, as after a lost answer.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub(crate) resends: f64,
    /// Seed of everything that is random: the same seed sends the same votes.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// How long all must be well before something is killed, and until it counts as recovered; at least 4 s, because trouble takes so
    /// long to show.
    #[arg(long, default_value = "5", value_parser = calm_seconds)]
    pub(crate) calm_seconds: Duration,
    /// How long to wait for a recovery before the command of --revive runs.
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub(crate) down_seconds: Duration,
    /// How long a recovery may take, and pending votes at the end.
    #[arg(long, default_value = "120", value_parser = seconds)]
    pub(crate) recover_seconds: Duration,
    /// The longest that a vote may wait for its acknowledgement. Beyond it, the run has failed.
    #[arg(long, value_parser = seconds)]
    pub(crate) wait_max_seconds: Option<Duration>,
    /// How long an answer may take before the vote is sent again.
    #[arg(long, default_value = "15", value_parser = seconds)]
    pub(crate) timeout_seconds: Duration,
    /// Print the summary as JSON; what is for people goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Beyond it, it is a mistake.
const SECONDS_MAX: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= SECONDS_MAX);
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("must be a number above 0 and at most {SECONDS_MAX}"))
}

/// A vote that is not shown is noticed after 3 s, one that is not acknowledged after 1 s.
const CALM_SECONDS_LEAST: Duration = Duration::from_secs(4);

fn calm_seconds(text: &str) -> Result<Duration, String> {
    let long_enough = |calm: &Duration| *calm >= CALM_SECONDS_LEAST;
    seconds(text).ok().filter(long_enough).ok_or_else(|| format!("must be a number from 4 to {SECONDS_MAX}"))
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "must be a number between 0 and 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["broker_loss"]).is_err(), "a server must be named");
        assert!(Arguments::try_parse_from(["broker_loss", "--url", "x", "--calm-seconds", "3.9"]).is_err(), "too short");
    }
}
