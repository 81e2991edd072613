//! The point: a load that resends with the same vote id is counted exactly once, and can prove it from outside.
//!
//! Run a server, then `cargo run --release -p polling-examples --bin crowd -- --help`.
#![expect(clippy::print_stdout, reason = "it is a program for a person at a terminal")]

mod arguments;
mod ballots;
mod check;
mod drive;
mod plan;
mod report;
mod score;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use voting::client::{Connection, Target};
use voting::polls::{self, NewPoll, Poll};
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::check::Expectation;
use crate::drive::Drive;
use crate::plan::Plan;
use crate::report::{Report, processor_time};
use crate::watch::Watcher;

/// How often the progress bar moves.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The run could not be done.
const EXIT_FAILURE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut builder = match arguments.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(usize::from(arguments.threads)).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => Err(failure(format!("failed to start: {error}"))),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure(why)) => {
            eprintln!("crowd: {why}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Does the whole run; answers whether the server took and shows what was sent.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let target = Target::parse(&arguments.url, Duration::from_secs_f64(arguments.timeout_seconds))?;
    let mut connection = Connection::new(target.clone());
    let (plan, polls) = prepare(&mut connection, arguments).await?;
    let open_loop = plan.due.seconds(0).is_some();
    announce(arguments, &plan, &polls);
    let watcher = match (arguments.watch, polls.first()) {
        (true, Some(poll)) => Some(Watcher::open(target.socket_url(&format!("/polls/{}/live", poll.id))).await?),
        _ => None,
    };
    let paths = polls.iter().map(|poll| target.path(&format!("/polls/{}/vote", poll.id)));
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    let retry = Duration::from_secs_f64(arguments.retry_seconds);
    let drive = Arc::new(Drive::new(plan, paths, target, arguments.connections, retry, arguments.receipts));

    let processor_before = processor_time();
    let bar = tokio::spawn(show_progress(Arc::clone(&drive)));
    let took = drive.run().await;
    bar.abort();
    let processor = processor_time().zip(processor_before).map(|(after, before)| after.saturating_sub(before));

    let score = std::mem::take(&mut *drive.score());
    let settle = Duration::from_secs_f64(arguments.settle_seconds);
    let expectation = Expectation::new(&drive.plan, &polls, &score.verdicts);
    let tallies = check::tallies(&mut connection, &polls, &expectation, settle).await?;
    let receipts = check::receipts(&mut connection, &score.receipts, &expectation, settle).await?;
    let watched = match watcher {
        Some(watcher) => {
            let before = polls[0].results.voters;
            let after = polls::read(&mut connection, polls[0].id).await?.results.voters;
            Some(watcher.finish(&score.shown_soon, before, after).await)
        }
        None => None,
    };
    let report = Report {
        score: &score,
        took,
        open_loop,
        expectation: &expectation,
        allow_refusals: arguments.allow_refusals,
        tallies: &tallies,
        receipts: &receipts,
        watched: watched.as_ref(),
        processor,
    };
    print!("{report}");
    Ok(report.is_as_sent())
}

/// Makes the plan, and the polls that fit it or a plan that fits the polls.
async fn prepare(connection: &mut Connection, arguments: &Arguments) -> Result<(Plan, Vec<Poll>), Failure> {
    let mut polls = Vec::new();
    for id in &arguments.existing {
        polls.push(polls::read(connection, *id).await?);
    }
    let number = u16::try_from(arguments.existing.len()).map_err(|_| failure("too many polls".to_owned()))?;
    let number = if number == 0 { arguments.polls } else { number };
    let smallest = |of: fn(&Poll) -> usize| polls.iter().map(of).min().and_then(|least| u8::try_from(least).ok());
    let options = smallest(|poll| poll.results.options.len()).unwrap_or(arguments.options);
    let max_choices = smallest(|poll| usize::from(poll.max_choices)).unwrap_or(arguments.max_choices);
    let plan = match &arguments.ballots {
        Some(path) => ballots::read(path, arguments)?,
        None => Plan::seeded(arguments, number, options, max_choices),
    };
    if polls.is_empty() {
        for number in 1..=arguments.polls {
            polls.push(polls::create(connection, &new_poll(arguments, &plan, number)).await?);
        }
    }
    Ok((plan, polls))
}

/// A poll that is fit for the options and choices of the plan.
fn new_poll(arguments: &Arguments, plan: &Plan, number: u16) -> NewPoll {
    let question = if arguments.polls == 1 { arguments.question.clone() } else { format!("{} ({number})", arguments.question) };
    NewPoll {
        max_choices: plan.max_choices.min(plan.options),
        allow_change: arguments.allow_change,
        ..NewPoll::numbered(question, plan.options)
    }
}

fn announce(arguments: &Arguments, plan: &Plan, polls: &[Poll]) {
    println!("{} votes to {} on {} connections, seed {}", plan.votes.len(), arguments.url, arguments.connections, arguments.seed);
    for poll in polls {
        println!("poll            {}/polls/{}", arguments.url.trim_end_matches('/'), poll.id);
    }
}

async fn show_progress(drive: Arc<Drive>) {
    let bar = ProgressBar::new(drive.plan.votes.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} votes, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    loop {
        bar.set_position(drive.answered() as u64);
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }
}
