//! The point: whatever dies, every acknowledged vote is counted once, and anybody can see it from outside.
//!
//! Run a cluster, then `cargo run --release -p polling-examples --bin broker_loss -- --help`.
#![expect(clippy::print_stdout, reason = "it is a program for a person at a terminal")]

mod arguments;
mod check;
mod fault;
mod ledger;
mod report;
mod round;
mod screen;
#[cfg(test)]
mod tests;
mod traffic;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use uuid::Uuid;
use voting::client::{Connection, Target};
use voting::polls::{self, NewPoll};
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::ledger::{SharedLedger, locked};
use crate::report::Report;
use crate::round::Observer;
use crate::screen::Screen;
use crate::traffic::Traffic;
use crate::watch::Watchers;

/// The run could not be done.
const EXIT_FAILURE: u8 = 2;
/// How long watchers may take to show the final results: servers read watched polls anew every 2 s at least.
const FINAL_FRAMES: Duration = Duration::from_secs(5);
/// How often to look whether they do.
const FINAL_FRAMES_LOOK: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure(why)) => {
            eprintln!("broker_loss: {why}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Does the whole run; answers whether all is as promised.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    if arguments.urls.len() < 2 {
        return Err(failure("two servers are needed, so that a vote can be sent again elsewhere: give --url twice".to_owned()));
    }
    let targets =
        arguments.urls.iter().map(|url| Target::parse(url, arguments.timeout_seconds)).collect::<Result<Vec<_>, _>>()?;
    let polls = make_polls(&targets, arguments).await?;
    let sockets = targets.iter().cycle().take(usize::from(arguments.watchers)).map(|target| target.socket_url("/live"));
    let watchers = Arc::new(Watchers::open(sockets, &polls));
    let ledger = SharedLedger::default();
    let paths: Vec<String> = polls.iter().map(Uuid::to_string).collect();
    let traffic = Arc::new(Traffic::new(arguments, &targets, &paths, Arc::clone(&ledger))?);

    let start = Instant::now();
    let screen = Screen::new(start, Arc::clone(&ledger), Arc::clone(&watchers), arguments.json);
    screen.say(&format!("{} votes a second to {} servers, seed {}", arguments.rate, targets.len(), arguments.seed));
    let voting = tokio::spawn(Arc::clone(&traffic).run());
    let observer = Observer { start, ledger: Arc::clone(&ledger), watchers: Arc::clone(&watchers), screen: &screen, arguments };
    let mut fault = Fault::new(arguments);
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        rounds.push(observer.play(round, &mut fault).await?);
        if rounds.last().is_some_and(|round| round.recovered.is_none()) || voting.is_finished() {
            break;
        }
    }
    screen.tell("no more votes; waiting for those that are not known yet");
    traffic.finish(arguments.recover_seconds).await;
    voting.await.map_err(|error| failure(format!("the traffic ended: {error}")))??;
    let took = start.elapsed().as_secs_f64();

    screen.tell("reading the tally at every server, and looking up every receipt");
    let sent = locked(&ledger).sent().to_vec();
    let check = check::check(&targets, &polls, &sent, arguments.options, arguments.recover_seconds).await?;
    let voters = sent.iter().filter(|vote| vote.acknowledged.is_some()).count();
    wait_for_final_frames(&watchers, voters as u64).await;
    drop(screen);

    let ledger = locked(&ledger);
    let mut report = Report {
        what: arguments.what.clone(),
        seed: arguments.seed,
        rate: arguments.rate,
        servers: targets.len(),
        took,
        rounds,
        sent: sent.len(),
        answers: ledger.answers(start, Instant::now()),
        never_known: ledger.open(),
        resent: ledger.resent(),
        refusals: ledger.refusals().clone(),
        check,
        watched: watchers.watched(voters as u64),
        held: false,
    };
    let wrong = report.wrong(arguments.wait_max_seconds);
    report.held = wrong.is_empty();
    print(&report, &wrong, arguments.json)?;
    Ok(report.held)
}

/// Makes the polls, and sees to it that every server knows them.
async fn make_polls(targets: &[Target], arguments: &Arguments) -> Result<Vec<Uuid>, Failure> {
    let mut polls = Vec::new();
    for number in 1..=arguments.polls {
        let poll = NewPoll::numbered(format!("Who survives {}? ({number})", arguments.what), arguments.options);
        polls.push(polls::create(&mut Connection::new(targets[0].clone()), &poll).await?.id);
    }
    for target in targets {
        let mut connection = Connection::new(target.clone());
        for poll in &polls {
            polls::read(&mut connection, *poll).await?;
        }
    }
    Ok(polls)
}

async fn wait_for_final_frames(watchers: &Watchers, voters: u64) {
    let give_up = Instant::now() + FINAL_FRAMES;
    while watchers.voters() < voters && Instant::now() < give_up {
        tokio::time::sleep(FINAL_FRAMES_LOOK).await;
    }
}

fn print(report: &Report, wrong: &[String], is_json: bool) -> Result<(), Failure> {
    if is_json {
        eprintln!("{report}");
        let json = serde_json::to_string_pretty(report);
        println!("{}", json.map_err(|error| failure(format!("the summary cannot be written: {error}")))?);
    } else {
        println!("{report}");
    }
    for what in wrong {
        eprintln!("WRONG: {what}");
    }
    Ok(())
}
