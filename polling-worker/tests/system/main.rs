//! The programs together, as they are run in production: servers and workers in processes of their own, on real Kafka and real
//! PostgreSQL. Without them each test is ignored, and the reason stands before the list; with `POLLING_REQUIRE_BACKENDS=1` they
//! fail instead.

#[path = "../../../polling-core/tests/kafka/discovery.rs"]
mod brokers;
#[path = "../../../polling-core/tests/postgres/discovery.rs"]
mod databases;

mod audit;
mod client;
mod crowd;
mod gate;
mod kafka;
mod load;
mod place;
mod postgres;
mod program;
mod wait;
mod watcher;

mod crashes;
mod operator;
mod outages;
mod starting;
mod whole;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use brokers::Brokers;
use databases::Server;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Trial};
use place::Place;

/// A test, which gets a place of its own.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Place) -> LocalBoxFuture<'a, ()>,
}

/// A test from the name of an async function.
macro_rules! tests {
    ($list:ident: $($name:ident),* $(,)?) => {
        pub(crate) const $list: &[crate::Test] =
            &[$(crate::Test { name: stringify!($name), run: |place| Box::pin($name(place)) }),*];
    };
}
pub(crate) use tests;

/// Each test runs up to four programs and waits most of its time.
const TEST_THREADS: usize = 2;

/// What the tests need.
struct Backends {
    brokers: Brokers,
    database: Server,
}

impl Backends {
    fn find() -> Result<Self, String> {
        let brokers = Brokers::find()?;
        let database = Server::find()?;
        eprintln!("testing against the brokers at {} and {}", brokers.addresses(), database.kind);
        Ok(Self { brokers, database })
    }
}

fn main() -> ExitCode {
    if std::env::var_os(program::AS_SERVER).is_some() {
        // The binary of another package cannot be found from here, so this one does what it does.
        return polling_server::process::run(std::env::args_os(), std::env::vars_os()).into();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TEST_THREADS));
    let tests = [whole::TESTS, crashes::TESTS, outages::TESTS, starting::TESTS, operator::TESTS].into_iter().flatten();
    let all = || tests.clone().chain(outages::BEHIND_GATES);
    let wanted = |test: &Test| arguments.filter.as_ref().is_none_or(|filter| test.name.contains(filter.as_str()));
    // Nobody starts servers to print a list.
    let found = if arguments.list || !all().any(wanted) { Err("not looked for".to_owned()) } else { Backends::find() };
    if let (Err(reason), false) = (&found, arguments.list) {
        eprintln!("nothing to test against: {reason}");
    }
    let is_required = std::env::var("POLLING_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
    let backends = found.map(Arc::new);
    let behind_gates = backends.clone().and_then(|backends| place::gates_are_told().map(|()| backends));
    let mut trials: Vec<Trial> = tests.clone().map(|test| trial(test, backends.clone(), is_required)).collect();
    trials.extend(outages::BEHIND_GATES.iter().map(|test| trial(test, behind_gates.clone(), is_required)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((backends, behind_gates));
    conclusion.exit_code()
}

fn trial(test: &Test, backends: Result<Arc<Backends>, String>, is_required: bool) -> Trial {
    let run = test.run;
    match backends {
        Ok(backends) => Trial::test(test.name, move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let place = Place::new(backends.brokers.addresses(), backends.database.url());
                // What it made is removed even when it fails.
                let ended = AssertUnwindSafe(run(&place)).catch_unwind().await;
                place.remove().await;
                if let Err(panic) = ended {
                    resume_unwind(panic);
                }
                Ok(())
            })
        }),
        // Whoever asks for ignored tests, too, is told why they cannot run.
        Err(reason) => Trial::test(test.name, move || Err(reason.into()))
            .with_kind("nothing to test against")
            .with_ignored_flag(!is_required),
    }
}
