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
mod schedule;
mod watchers;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use voting::check::check;
use voting::history::{self, Planned, What};
use voting::{Failure, failure};

use crate::arguments::{Arguments, Sabotage};
use crate::cluster::Cluster;
use crate::report::{HEAD, Row, wrong};
use crate::run::Plan;
use crate::world::Programs;

/// The run could not be done.
const EXIT_FAILURE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::select! {
        done = run_all(&arguments) => done,
        // The programs end with the run; nobody else would bring the nodes back.
        () = interrupted() => Err(mended(&arguments).await),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure(why)) => {
            eprintln!("chaos: {why}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Waits until the program is asked to end. Where that cannot be heard, it ends at once, and its programs do not.
async fn interrupted() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn mended(arguments: &Arguments) -> Failure {
    if let Some(Ok(cluster)) = arguments.cluster.as_deref().map(Cluster::from_environment) {
        run::mend(&cluster).await;
    }
    failure("interrupted; the nodes of the cluster are brought back".to_owned())
}

/// Runs everything that was asked for; answers whether all promises were kept.
async fn run_all(arguments: &Arguments) -> Result<bool, Failure> {
    if let Some(path) = &arguments.check {
        return judge(path);
    }
    let cluster = Cluster::from_environment(arguments.cluster.as_deref().unwrap_or_default())?;
    let (server, worker) =
        (beside(arguments.server.as_deref(), "polling-server")?, beside(arguments.worker.as_deref(), "polling-worker")?);
    let programs = Programs { server: &server, worker: &worker };
    let mut rows = Vec::new();
    for (name, plans) in plans(arguments)? {
        let mut row = Row::of(&name);
        for plan in plans {
            one(&name, &plan, &cluster, programs, arguments.histories.as_deref(), &mut row).await?;
        }
        rows.push(row);
    }
    println!("{HEAD}");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(rows.iter().all(|row| row.is_as_it_should_be(arguments.sabotage)))
}

/// Does one run and adds it to its row.
async fn one(
    name: &str,
    plan: &Plan,
    cluster: &Cluster,
    programs: Programs<'_>,
    histories: Option<&Path>,
    row: &mut Row,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| failure(format!("no folder can be made: {error}")))?;
    let done = run::run(plan, cluster, programs, folder.path()).await;
    let is_kept = histories.is_some() || !matches!(&done, Ok((_, verdict)) if verdict.violations.is_empty());
    if is_kept {
        let kept = keep(folder, histories, &format!("{name}-{}", plan.seed))?;
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
    if let Some(path) = &arguments.replay {
        let (events, _) = history::read(path)?;
        let began = events.into_iter().find_map(|event| match event.what {
            What::Began { seed, rate, schedule } => Some(Plan { seed, rate, schedule, sabotage: arguments.sabotage }),
            _ => None,
        });
        let plan = began.ok_or_else(|| failure(format!("{} does not say how it began", path.display())))?;
        return Ok(vec![("replay".to_owned(), vec![plan])]);
    }
    let rounds = |schedule: &dyn Fn(u64) -> Vec<Planned>| {
        let plan = |seed| Plan { seed, rate: arguments.rate, schedule: schedule(seed), sabotage: arguments.sabotage };
        (arguments.seed..arguments.seed + arguments.rounds).map(plan).collect()
    };
    if arguments.random {
        return Ok(vec![("random".to_owned(), rounds(&|seed| schedule::random(seed, arguments.lasts)))]);
    }
    if arguments.faults.is_empty() {
        let name = match arguments.sabotage {
            Some(Sabotage::Skip) => "control: skip",
            Some(Sabotage::Double) => "control: double",
            None => "none",
        };
        return Ok(vec![(name.to_owned(), rounds(&|_| Vec::new()))]);
    }
    Ok(arguments.faults.iter().map(|&fault| (fault.name(), rounds(&|_| schedule::single(fault)))).collect())
}

/// Judges a history that was kept.
fn judge(path: &Path) -> Result<bool, Failure> {
    let (events, state) = history::read(path)?;
    let verdict = check(&events, &state);
    eprint!("{}", wrong(&events, &verdict));
    let mut row = Row::of(&path.display().to_string());
    let seed = events.iter().find_map(|event| if let What::Began { seed, .. } = event.what { Some(seed) } else { None });
    row.add(seed.unwrap_or_default(), &events, &verdict);
    println!("{HEAD}\n{row}");
    Ok(row.is_as_it_should_be(None))
}

/// A program, where it was said or beside this one.
fn beside(given: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let this = std::env::current_exe().map_err(|error| failure(format!("this program does not know where it is: {error}")))?;
    Ok(this.with_file_name(name))
}
