//! Tests against a real PostgreSQL. Without one each of them is ignored, and the reason stands before the list; with
//! `POLLING_REQUIRE_BACKENDS=1` they fail instead.

mod auditing;
#[path = "../it/crashes.rs"]
#[expect(dead_code, unused_imports, reason = "schedules of faults, of which these tests need a part")]
mod crashes;
mod discovery;
mod faults;
mod opening;
mod postgres_schema;
mod proxy;
mod suites;
mod workers;
#[path = "../it/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use discovery::Server;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Trial};
use postgres_schema::Place;

/// A test, which gets a place of its own on the server.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Place) -> LocalBoxFuture<'static, ()>,
}

/// A test from the name of an async function.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] =
            &[$(crate::Test { name: stringify!($name), run: |place| Box::pin($name(place)) }),*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: Vec<&Test> =
        [suites::TESTS, workers::TESTS, auditing::TESTS, faults::TESTS, opening::TESTS].into_iter().flatten().collect();
    let wanted = |test: &&Test| arguments.filter.as_ref().is_none_or(|filter| test.name.contains(filter.as_str()));
    // Nobody starts a server to print a list.
    let found = if arguments.list || !tests.iter().any(wanted) { Err("not looked for".to_owned()) } else { Server::find() };
    match &found {
        _ if arguments.list => {}
        Ok(server) => eprintln!("testing against {}", server.kind),
        Err(reason) => eprintln!("no PostgreSQL to test against: {reason}"),
    }
    let is_required = std::env::var("POLLING_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
    let server = found.map(Arc::new);
    let trials = tests.iter().map(|test| trial(test, server.clone(), is_required)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    conclusion.exit_code()
}

fn trial(test: &Test, server: Result<Arc<Server>, String>, is_required: bool) -> Trial {
    let run = test.run;
    match server {
        Ok(server) => Trial::test(test.name, move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let url = server.url().to_owned();
            runtime.block_on(async {
                let place = Place::new(url);
                // What it made is removed even when it fails.
                let ended = AssertUnwindSafe(run(place.clone())).catch_unwind().await;
                place.remove().await;
                if let Err(panic) = ended {
                    resume_unwind(panic);
                }
                Ok(())
            })
        }),
        // Whoever asks for ignored tests, too, is told why they cannot run.
        Err(reason) => {
            Trial::test(test.name, move || Err(reason.into())).with_kind("no PostgreSQL").with_ignored_flag(!is_required)
        }
    }
}
