//! The point: whatever is broken, no acknowledged vote is lost or counted twice; and a program that tries to show the opposite finds it
//! where it is so.
//!
//! Bring up a cluster whose nodes a command can break, then `cargo run -p polling-examples --bin chaos -- --help`.
#![expect(clippy::print_stdout, reason = "it is a program for a person at a terminal")]

mod arguments;
mod clients;
mod cluster;
mod inject;
mod kafka;
mod last;
mod postgres;
mod program;
mod report;
mod run;
mod sabotage;
mod schedule;
mod stop;
mod watchers;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use voting::check::{check, check_stopped};
use voting::history::{self, Planned, What};
use voting::{Failure, failure};

use crate::arguments::{Arguments, Sabotage, Stop};
use crate::cluster::Cluster;
use crate::report::{HEAD, Row, wrong};
use crate::run::{Place, Plan};
use crate::schedule::Fault;
use crate::world::Programs;

/// The run could not be done.
const EXIT_FAILURE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (interrupt, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        asked_to_end().await;
        interrupt.send_replace(true);
        // Kept, because a sender that is gone would look like a signal.
        std::future::pending::<()>().await;
    });
    match run_all(&arguments, &interrupted).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure(why)) => {
            eprintln!("chaos: {why}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Waits until the program is asked to end. Where that cannot be heard, it ends at once, and its programs do not.
async fn asked_to_end() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Runs everything that was asked for; answers whether all promises were kept.
async fn run_all(arguments: &Arguments, interrupted: &watch::Receiver<bool>) -> Result<bool, Failure> {
    if let Some(path) = &arguments.check {
        return judge(path);
    }
    let cluster = Cluster::from_environment(arguments.cluster.as_deref().unwrap_or_default())?;
    let (server, worker) =
        (beside(arguments.server.as_deref(), "polling-server")?, beside(arguments.worker.as_deref(), "polling-worker")?);
    let programs = Programs { server: &server, worker: &worker, faketime: arguments.faketime.as_deref() };
    let mut is_well = true;
    let mut undone = Vec::new();
    let rows = plans(arguments)?;
    println!("{HEAD}");
    for (name, plans) in rows {
        let mut row = Row::of(&name, plans.first().and_then(|plan| plan.sabotage));
        for plan in plans {
            let place = Place { cluster: &cluster, programs, interrupted };
            let done = one(&name, &plan, place, arguments.histories.as_deref(), &mut row).await;
            if *interrupted.borrow() {
                return Err(failure("interrupted; the nodes are brought back, and what the run had made is removed".to_owned()));
            }
            if let Err(Failure(why)) = done {
                eprintln!("chaos: {name}, seed {}, could not be done: {why}", plan.seed);
                undone.push(format!("{name}, seed {}", plan.seed));
            }
        }
        println!("{row}");
        is_well &= row.is_as_it_should_be();
    }
    if undone.is_empty() { Ok(is_well) } else { Err(failure(format!("not done: {}", undone.join("; ")))) }
}

/// Does one run and adds it to its row.
async fn one(name: &str, plan: &Plan, place: Place<'_>, histories: Option<&Path>, row: &mut Row) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| failure(format!("no folder can be made: {error}")))?;
    let done = run::run(plan, place, folder.path()).await;
    let is_kept = histories.is_some() || !matches!(&done, Ok((_, verdict)) if verdict.violations.is_empty());
    if is_kept {
        let kept = keep(folder, histories, &format!("{}-{}", name.replace(": ", "-"), plan.seed))?;
        eprintln!("chaos: the history and the logs are in {}", kept.display());
    }
    let (events, verdict) = done?;
    eprint!("{}", wrong(&events, &verdict));
    row.add(plan.seed, &events, &verdict);
    eprintln!("{row}");
    Ok(())
}

fn keep(folder: tempfile::TempDir, histories: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let Some(histories) = histories else { return Ok(folder.keep()) };
    let kept = histories.join(name);
    let copying = std::fs::create_dir_all(&kept).and_then(|()| {
        for entry in std::fs::read_dir(folder.path())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
            }
        }
        Ok(())
    });
    copying.map_err(|error| failure(format!("{} cannot be written: {error}", kept.display())))?;
    Ok(kept)
}

/// What to run, by the name of its row.
fn plans(arguments: &Arguments) -> Result<Vec<(String, Vec<Plan>)>, Failure> {
    let watchers = arguments.watchers.map(usize::from);
    if let Some(path) = &arguments.replay {
        let (events, _) = history::read(path)?;
        let began = events.into_iter().find_map(|event| match event.what {
            What::Began { seed, rate, schedule } => {
                Some(Plan { seed, rate, watchers, schedule, sabotage: arguments.sabotage, stop: arguments.stop })
            }
            _ => None,
        });
        let plan = began.ok_or_else(|| failure(format!("{} does not say how it began", path.display())))?;
        return Ok(vec![("replay".to_owned(), vec![plan])]);
    }
    let rounds = |sabotage, stop, schedule: &dyn Fn(u64) -> Vec<Planned>| {
        let plan = |seed| Plan { seed, rate: arguments.rate, watchers, schedule: schedule(seed), sabotage, stop };
        (arguments.seed..arguments.seed + arguments.rounds).map(plan).collect()
    };
    let fault = |fault: Fault| (fault.name(), rounds(None, None, &|_| schedule::single(fault)));
    let stop = |stop: Stop| (format!("stop: {}", stop.name()), rounds(None, Some(stop), &|_| Vec::new()));
    let control = |sabotage: Sabotage| (format!("control: {}", sabotage.name()), rounds(Some(sabotage), None, &|_| Vec::new()));
    if arguments.all {
        let faults = Fault::ALL.into_iter().map(fault);
        let stops = Stop::value_variants().iter().copied().map(stop);
        return Ok(faults.chain(stops).chain(Sabotage::value_variants().iter().copied().map(control)).collect());
    }
    if arguments.random {
        let name = "random".to_owned();
        return Ok(vec![(name, rounds(arguments.sabotage, None, &|seed| schedule::random(seed, arguments.lasts)))]);
    }
    if let Some(only) = arguments.stop {
        return Ok(vec![stop(only)]);
    }
    match (arguments.sabotage, arguments.faults.as_slice()) {
        (Some(sabotage), []) => Ok(vec![control(sabotage)]),
        (None, []) => Ok(vec![("none".to_owned(), rounds(None, None, &|_| Vec::new()))]),
        (sabotage, faults) => {
            let row = |&fault: &Fault| (fault.name(), rounds(sabotage, None, &|_| schedule::single(fault)));
            Ok(faults.iter().map(row).collect())
        }
    }
}

/// Judges a history that was kept.
fn judge(path: &Path) -> Result<bool, Failure> {
    let (events, state) = history::read(path)?;
    let is_stopped = events.iter().any(|event| matches!(&event.what, What::Recovered { what, .. } if what == stop::ALARM));
    let verdict = if is_stopped { check_stopped(&events, &state) } else { check(&events, &state) };
    eprint!("{}", wrong(&events, &verdict));
    let mut row = Row::of(&path.display().to_string(), None);
    let seed = events.iter().find_map(|event| if let What::Began { seed, .. } = event.what { Some(seed) } else { None });
    row.add(seed.unwrap_or_default(), &events, &verdict);
    println!("{HEAD}\n{row}");
    Ok(row.is_as_it_should_be())
}

/// A program, where it was said or beside this one.
fn beside(given: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let this = std::env::current_exe().map_err(|error| failure(format!("this program does not know where it is: {error}")))?;
    Ok(this.with_file_name(name))
}
