//! Kafka: against the brokers that librdkafka brings along, on any machine, and against a real cluster where there is one. Without one
//! the tests that need it are ignored, and the reason stands before the list; with `POLLING_REQUIRE_BACKENDS=1` they fail instead.

mod bus;
mod discovery;
mod inspection;
mod mock;
mod real;
mod refusal;
mod sink;
mod source;

use std::process::ExitCode;
use std::sync::Arc;

use discovery::Brokers;
use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use polling_core::kafka::Cluster;

/// Tests that run at the same time: they wait for groups and time-outs, and hardly use a processor.
const TEST_THREADS: usize = 8;

/// A test against brokers in its own process.
pub(crate) struct MockTest {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> LocalBoxFuture<'static, ()>,
}

/// A test against a real cluster, where it uses names of its own.
pub(crate) struct RealTest {
    pub(crate) name: &'static str,
    /// How many brokers it needs; a container is one.
    pub(crate) brokers_min: usize,
    pub(crate) run: fn(Cluster) -> LocalBoxFuture<'static, ()>,
}

/// Tests from the names of async functions.
macro_rules! mock_tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::MockTest] =
            &[$(crate::MockTest { name: stringify!($name), run: || Box::pin($name()) }),*];
    };
}
macro_rules! real_tests {
    ($($name:ident $(on $brokers_min:literal)?),* $(,)?) => {
        pub(crate) const TESTS: &[crate::RealTest] = &[$(crate::RealTest {
            name: stringify!($name),
            brokers_min: crate::real_tests!(@ $($brokers_min)?),
            run: |cluster| Box::pin($name(cluster)),
        }),*];
    };
    (@ $brokers_min:literal) => { $brokers_min };
    (@) => { 1 };
}
pub(crate) use {mock_tests, real_tests};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TEST_THREADS));
    let mut trials: Vec<Trial> =
        [sink::TESTS, source::TESTS, bus::TESTS, refusal::TESTS].into_iter().flatten().map(mock_trial).collect();
    let wanted = |test: &RealTest| arguments.filter.as_ref().is_none_or(|filter| test.name.contains(filter.as_str()));
    // Nobody starts brokers to print a list.
    let found = if arguments.list || !all_real().any(wanted) { Err("not looked for".to_owned()) } else { Brokers::find() };
    if let (Err(reason), false) = (&found, arguments.list) {
        eprintln!("no Kafka to test against: {reason}");
    }
    let is_required = std::env::var("POLLING_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
    let brokers = found.map(Arc::new);
    trials.extend(all_real().map(|test| real_trial(test, brokers.clone(), is_required)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(brokers);
    conclusion.exit_code()
}

fn all_real() -> impl Iterator<Item = &'static RealTest> {
    real::TESTS.iter().chain(inspection::TESTS)
}

fn mock_trial(test: &MockTest) -> Trial {
    let run = test.run;
    Trial::test(test.name, move || block_on(run()))
}

fn real_trial(test: &RealTest, brokers: Result<Arc<Brokers>, String>, is_required: bool) -> Trial {
    let run = test.run;
    let enough = |brokers: &Arc<Brokers>| brokers.addresses().split(',').count() >= test.brokers_min;
    match brokers {
        Ok(brokers) if !enough(&brokers) && !is_required => {
            let reason = format!("{} brokers are needed", test.brokers_min);
            Trial::test(test.name, move || Err(reason.into())).with_kind("too few brokers").with_ignored_flag(true)
        }
        Ok(brokers) => Trial::test(test.name, move || block_on(run(Cluster::new(brokers.addresses())))),
        Err(reason) if is_required => Trial::test(test.name, move || Err(reason.into())),
        Err(reason) => Trial::test(test.name, move || Err(reason.into())).with_kind("no Kafka").with_ignored_flag(true),
    }
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}
