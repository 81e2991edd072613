//! Workers that stop, die and freeze while votes keep coming.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polling_core::open::Urls;
use rustix::process::Signal;

use crate::audit::{audit, everything_is_counted};
use crate::crowd::{Answer, Ballot, Crowd, create_poll};
use crate::gate::Gate;
use crate::load::Load;
use crate::place::Place;
use crate::program::{Server, Worker, worker};
use crate::wait::eventually;

crate::tests![TESTS:
    a_worker_that_is_told_to_stop_hands_over,
    a_worker_whose_database_does_not_answer_stops_all_the_same,
    a_worker_that_is_killed_is_replaced,
    a_worker_that_wakes_up_too_late_changes_nothing,
];

/// How long it may take until all is counted that came while a worker stopped; the aim is 5 s on a machine that has nothing else
/// to do.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(30);

/// How long a worker may take to stop; far more than the five seconds that it is meant to, and far less than it waits for a database.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// The shortest patience that brokers allow, so that a worker that is gone is missed soon.
fn impatient(urls: Urls) -> Urls {
    Urls { log: format!("{}&librdkafka.session.timeout.ms=6000&librdkafka.heartbeat.interval.ms=1000", urls.log), ..urls }
}

/// Waits until the worker has counted more than it had.
async fn counts_on(worker: &Worker) {
    const COUNTED: &str = "polling_records_applied_total";
    let before = worker.admin.metric(COUNTED).await;
    eventually("a worker counts", async || (worker.admin.metric(COUNTED).await > before).then_some(())).await;
}

async fn a_worker_that_is_told_to_stop_hands_over(place: &Place) {
    let server = Server::start(place).await;
    let poll = create_poll(&server.api, 3, false).await;
    let (mut first, second) = tokio::join!(Worker::start(place), Worker::start(place));
    let crowd = Arc::new(Crowd::default());
    let load = Load::start(Arc::clone(&crowd), vec![server.api.clone()], poll);
    tokio::join!(counts_on(&first), counts_on(&second));

    let stopping = Instant::now();
    first.program.signal(Signal::TERM);
    assert_eq!(first.program.exit_code().await, Some(0));
    let stopped = stopping.elapsed();
    load.goes_on(50).await;
    assert_eq!(load.stop().await, []);
    everything_is_counted(place).await;
    let handed_over = stopping.elapsed();
    eprintln!("stopped after {stopped:?}; all that came until then and shortly after was counted after {handed_over:?}");
    assert!(handed_over < HANDED_OVER_WITHIN, "{handed_over:?}");
    audit(place, &crowd, &[&server.api]).await;
}

async fn a_worker_whose_database_does_not_answer_stops_all_the_same(place: &Place) {
    let server = Server::start(place).await;
    let poll = create_poll(&server.api, 3, false).await;
    let gate = Gate::to(&place.database_host()).await;
    let behind = place.urls_through(place.brokers(), &place.database_at(gate.address()));
    let behind = Urls { store: format!("{}&counting-timeout=10m", behind.store), ..behind };
    let mut worker = Worker::counting(worker(&behind)).await;
    gate.hold();
    let crowd = Crowd::default();
    let ballots: Vec<Ballot> = (0..50).map(|voter| Ballot::new(poll, format!("voter-{voter}"), 1)).collect();
    crowd.cast(&server.api, &ballots).await;
    gate.holds_something().await;

    let stopping = Instant::now();
    worker.program.signal(Signal::TERM);
    assert_eq!(worker.program.exit_code().await, Some(0));
    let stopped = stopping.elapsed();
    assert!(stopped < STOPPED_WITHIN, "{stopped:?}");
    let _other = Worker::start(place).await;
    everything_is_counted(place).await;
    audit(place, &crowd, &[&server.api]).await;
}

async fn a_worker_that_is_killed_is_replaced(place: &Place) {
    let server = Server::start(place).await;
    let poll = create_poll(&server.api, 3, false).await;
    let urls = impatient(place.urls());
    let (mut first, second) = tokio::join!(Worker::counting(worker(&urls)), Worker::counting(worker(&urls)));
    let crowd = Arc::new(Crowd::default());
    let load = Load::start(Arc::clone(&crowd), vec![server.api.clone()], poll);
    tokio::join!(counts_on(&first), counts_on(&second));

    let killed = Instant::now();
    first.program.signal(Signal::KILL);
    assert_eq!(first.program.exit_code().await, None);
    load.goes_on(100).await;
    assert_eq!(load.stop().await, []);
    everything_is_counted(place).await;
    eprintln!("all that came until shortly after the kill was counted after {:?}", killed.elapsed());
    audit(place, &crowd, &[&server.api]).await;
}

async fn a_worker_that_wakes_up_too_late_changes_nothing(place: &Place) {
    let server = Server::start(place).await;
    let poll = create_poll(&server.api, 3, true).await;
    let gate = Gate::to(&place.database_host()).await;
    let behind = impatient(place.urls_through(place.brokers(), &place.database_at(gate.address())));
    // It waits for the database longer than it is frozen: an attempt whose outcome it does not know would end in another way.
    let behind = Urls { store: format!("{}&counting-timeout=10m", behind.store), ..behind };
    let sleeper = Worker::counting(worker(&behind)).await;
    let crowd = Crowd::default();
    let ballots: Vec<Ballot> = (0..200).map(|voter| Ballot::new(poll, format!("voter-{voter}"), 1)).collect();
    assert!(crowd.cast(&server.api, &ballots).await.iter().all(|answer| *answer == Answer::Acknowledged));
    everything_is_counted(place).await;

    gate.hold();
    let changes: Vec<Ballot> = ballots.iter().map(|ballot| ballot.then(&[2])).collect();
    crowd.cast(&server.api, &changes).await;
    gate.holds_something().await;
    sleeper.program.signal(Signal::STOP);
    let other = Worker::counting(worker(&impatient(place.urls()))).await;
    // Among that is what the frozen worker has in hand.
    everything_is_counted(place).await;
    let further: Vec<Ballot> = ballots.iter().step_by(2).map(|ballot| ballot.then(&[3])).collect();
    crowd.cast(&server.api, &further).await;
    everything_is_counted(place).await;

    sleeper.program.signal(Signal::CONT);
    gate.open();
    const FENCED: &str = "polling_batches_fenced_total";
    eventually("the batch is fenced", async || (sleeper.admin.metric(FENCED).await > 0.0).then_some(())).await;
    crowd.cast(&server.api, &ballots.iter().map(|ballot| ballot.then(&[1])).collect::<Vec<_>>()).await;
    audit(place, &crowd, &[&server.api]).await;
    drop(other);
}
