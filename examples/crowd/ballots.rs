//! Reads real ballots from a CSV file.

use std::collections::HashMap;
use std::path::Path;

use polling_core::clock::Timestamp;
use polling_core::model::{Choices, OptionId};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Deserialize;
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::plan::{Due, Plan, PlannedVote, Voters, chained, vote_id};

#[derive(Debug, Deserialize)]
struct Line {
    voter: String,
    choices: String,
    time: Option<String>,
}

struct Ballot {
    voter: u32,
    choices: Choices,
    seconds: Option<f64>,
}

/// Reads the ballots of a file and plans to send them in the order of their times. All go to one poll.
///
/// Vote ids come from the seed, so that replaying the same file again to the same poll counts nothing twice.
pub(crate) fn read(path: &Path, arguments: &Arguments) -> Result<Plan, Failure> {
    let mut file =
        csv::Reader::from_path(path).map_err(|error| failure(format!("failed to read {}: {error}", path.display())))?;
    let mut names: Vec<String> = Vec::new();
    let mut number_of: HashMap<String, u32> = HashMap::new();
    let mut ballots: Vec<Ballot> = Vec::new();
    for (line, number) in file.deserialize::<Line>().zip(2_u64..) {
        let wrong = |what: &str| failure(format!("{} line {number}: {what}", path.display()));
        let line = line.map_err(|error| wrong(&error.to_string()))?;
        let voter = *number_of.entry(line.voter).or_insert_with_key(|name| {
            names.push(name.clone());
            u32::try_from(names.len() - 1).unwrap_or(u32::MAX)
        });
        let choices = parse_choices(&line.choices).ok_or_else(|| wrong("choices must be distinct option ids such as 1;3"))?;
        let time = line.time.filter(|text| !text.trim().is_empty());
        let seconds = time.map(|text| parse_time(&text).ok_or_else(|| wrong("time must be RFC 3339 or seconds"))).transpose()?;
        ballots.push(Ballot { voter, choices, seconds });
    }
    if ballots.is_empty() {
        return Err(failure(format!("{} has no ballots", path.display())));
    }
    Ok(planned(&mut ballots, names, arguments))
}

fn planned(ballots: &mut [Ballot], names: Vec<String>, arguments: &Arguments) -> Plan {
    let timed = ballots.iter().all(|ballot| ballot.seconds.is_some());
    let due = match arguments.rate {
        Some(rate) => Due::Rate(rate),
        None if timed => {
            ballots.sort_by(|one, other| one.seconds.unwrap_or(0.0).total_cmp(&other.seconds.unwrap_or(0.0)));
            let start = ballots.first().and_then(|ballot| ballot.seconds).unwrap_or(0.0);
            Due::Recorded(ballots.iter().map(|ballot| (ballot.seconds.unwrap_or(0.0) - start) / arguments.speed).collect())
        }
        None => Due::AtOnce,
    };
    let mut random = SmallRng::seed_from_u64(arguments.seed);
    let votes = ballots.iter().map(|ballot| PlannedVote {
        poll: 0,
        voter: ballot.voter,
        choices: ballot.choices,
        vote_id: vote_id(&mut random),
        follows: None,
    });
    let highest = ballots.iter().map(|ballot| ballot.choices.highest_index() + 1).max().unwrap_or(0);
    let most = ballots.iter().map(|ballot| ballot.choices.len()).max().unwrap_or(0);
    Plan {
        votes: chained(votes, names.len()),
        due,
        voters: Voters::Named(names),
        options: u8::try_from(highest.max(2)).unwrap_or(u8::MAX),
        max_choices: u8::try_from(most.max(1)).unwrap_or(u8::MAX),
    }
}

fn parse_choices(text: &str) -> Option<Choices> {
    let options: Option<Vec<OptionId>> =
        text.split(';').map(|number| number.trim().parse().ok().and_then(OptionId::new)).collect();
    Choices::new(options?)
}

fn parse_time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return Some(seconds);
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this century need 51 bits")]
    Timestamp::parse(text).map(|time| time.as_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn read_text(text: &str, extra: &[&str]) -> Result<Plan, Failure> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read(file.path(), &Arguments::parse_from(std::iter::once(&"crowd").chain(extra)))
    }

    #[test]
    fn ballots_are_sent_in_the_order_of_their_times_and_at_their_pace() {
        let text = "time,voter,choices\n2026-01-01T00:01:00Z,ann,2\n2026-01-01T00:00:00Z,ben,1;3\n";
        let plan = read_text(text, &["--ballots", "x", "--speed", "60"]).expect("sound");
        assert_eq!((plan.voters.name(plan.votes[0].voter).as_str(), plan.votes[0].choices.len()), ("ben", 2));
        assert_eq!((plan.due.seconds(0), plan.due.seconds(1)), (Some(0.0), Some(1.0)));
        assert_eq!((plan.options, plan.max_choices), (3, 2));
    }

    #[test]
    fn a_voter_who_comes_twice_is_kept_in_order() {
        let plan = read_text("voter,choices\nann,1\nann,2\n", &[]).expect("sound");
        assert_eq!((plan.voters.count(), plan.votes[1].follows), (1, Some(0)));
        assert_ne!(plan.votes[0].vote_id, plan.votes[1].vote_id);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let wrong = read_text("voter,choices\nann,1\nben,1;1\n", &[]).expect_err("choices twice");
        assert!(wrong.0.ends_with("line 3: choices must be distinct option ids such as 1;3"), "{}", wrong.0);
    }
}
