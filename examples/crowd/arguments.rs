//! What can be asked of the crowd on the command line.

use std::path::PathBuf;

use clap::Parser;
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  crowd                                     1,000 voters on a new poll, as fast as they are answered
  crowd --voters 50000 --rate 2000          an open loop: 2,000 votes a second, whether or not answers keep up
  crowd --voters 50000 --connections 256    a closed loop on 256 connections
  crowd --polls 5 --resends 0.1 --duplicates 0.05
  crowd --allow-change --changes 0.3 --watch
  crowd --ballots ballots.csv --speed 60    replay: one recorded minute takes a second

A file of ballots has a header line and the columns voter, choices (option ids, \"1;3\") and, if the times matter, time
(RFC 3339, or seconds). Exit status: 0 every vote was taken and the final tally is what was sent, 1 it is not so, 2 the run
could not be done.";

/// Sends votes to a running server, and checks that the final tally is what was sent.
///
/// A vote that is answered by 429 or 503, or not at all, is sent again with the same vote id until it is answered or its
/// time is over. Latencies are measured from the moment a vote was due, so that a server that stalls cannot hide it.
#[derive(Debug, Clone, Parser)]
#[command(name = "crowd", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The server. Nothing is sent anywhere else.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Voters, each with one first vote.
    #[arg(long, default_value_t = 1000)]
    pub(crate) voters: u32,
    /// Votes a second that are due, whether or not answers keep up (open loop). Absent: each connection sends its next
    /// vote when the last is answered (closed loop).
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Connections, and so the votes that may be on their way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) connections: u16,
    /// Seed of everything that is random: the same seed sends the same votes.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// New polls, over which the voters are spread.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) polls: u16,
    /// Use this poll instead of new ones. Take another seed each time, or voters come twice. May be given several times.
    #[arg(long = "poll", value_name = "ID", conflicts_with = "polls")]
    pub(crate) existing: Vec<Uuid>,
    /// The question of new polls.
    #[arg(long, default_value = "Which one?")]
    pub(crate) question: String,
    /// Options of new polls.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub(crate) options: u8,
    /// Options that a vote in a new poll may name.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) max_choices: u8,
    /// New polls allow changing a vote.
    #[arg(long)]
    pub(crate) allow_change: bool,
    /// Share of voters who send their vote a second time under the same vote id, as after a lost answer.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) resends: f64,
    /// Share of voters who try to vote twice; not together with --allow-change, where that is a change.
    #[arg(long, default_value_t = 0.0, value_parser = share, conflicts_with = "allow_change")]
    pub(crate) duplicates: f64,
    /// Share of voters who change their vote.
    #[arg(long, default_value_t = 0.0, value_parser = share, requires = "allow_change")]
    pub(crate) changes: f64,
    /// Replay real ballots from a CSV file, in the order of their times.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["voters", "resends", "duplicates", "changes", "polls"])]
    pub(crate) ballots: Option<PathBuf>,
    /// How many times faster than recorded to replay; only for ballots with times, and not together with --rate.
    #[arg(long, default_value_t = 1.0, value_parser = positive, requires = "ballots", conflicts_with = "rate")]
    pub(crate) speed: f64,
    /// Votes may be refused, such as those of a replay that goes on after its poll was closed.
    #[arg(long)]
    pub(crate) allow_refusals: bool,
    /// Open a socket on the first poll and report how long after a vote was due a frame shows it.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Receipts that are looked up afterwards, evenly spread over the votes.
    #[arg(long, default_value_t = 1000)]
    pub(crate) receipts: u32,
    /// How long an answer may take before the vote is sent again.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) timeout_seconds: f64,
    /// How long a vote is sent again before it is given up as unknown. When no vote is answered for as long, the rest is not sent.
    #[arg(long, default_value_t = 60.0, value_parser = positive)]
    pub(crate) retry_seconds: f64,
    /// How long pending votes may take at the end before the tally is compared all the same.
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub(crate) settle_seconds: f64,
    /// Threads of the client. One leaves the other cores to a server on the same machine.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
}

/// Durations and rates beyond it are mistakes.
const NUMBER_MAX: f64 = 1e7;

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= NUMBER_MAX);
    number.ok_or_else(|| format!("must be a number above 0 and at most {NUMBER_MAX}"))
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "must be a number between 0 and 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn shares_and_rates_have_bounds() {
        let refused = |arguments: &[&str]| Arguments::try_parse_from(std::iter::once(&"crowd").chain(arguments)).is_err();
        assert!(refused(&["--resends", "1.1"]));
        assert!(refused(&["--rate", "0"]));
        assert!(refused(&["--changes", "0.5"]), "a change needs polls that allow it");
        assert!(!refused(&["--changes", "0.5", "--allow-change"]));
    }
}
