//! A topic that is changed, taken away or about to drop votes while programs use it, on a real cluster of three brokers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use polling_core::clock::{Clock, ManualClock, SystemClock};
use polling_core::kafka::Cluster;
use polling_core::open::{Backends, Urls, open};
use polling_core::shutdown::Shutdown;
use polling_core::sink::SinkError;
use rdkafka::admin::{AlterConfig, ResourceSpecifier};

use crate::mock::crowd;
use crate::real::{admin, create, fresh, options};
use crate::real_tests;

real_tests! {
    a_topic_that_is_changed_is_said_and_takes_votes on 3,
    a_topic_that_vanishes_takes_no_votes_until_one_by_its_rules_is_there on 3,
    a_backlog_is_said_before_the_topic_drops_it on 3,
}

/// Longer than several looks at a topic, on brokers with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is known.
const LOOK: Duration = Duration::from_millis(50);

fn urls(cluster: &Cluster, topic: &str) -> Urls {
    Urls {
        log: format!("kafka://{}/{topic}?partitions=2&group={}", cluster.brokers(), fresh("group")),
        store: "memory:".to_owned(),
        bus: "memory:".to_owned(),
        data_dir: PathBuf::new(),
    }
}

/// Waits until what is said fits.
async fn says(what: &str, said: impl Fn() -> Option<String>, fits: impl Fn(Option<&str>) -> bool) {
    let waiting = async {
        while !fits(said().as_deref()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{what}: {:?}", said());
}

async fn set(cluster: &Cluster, topic: &str, name: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let changed = admin(cluster.brokers()).alter_configs([&change], &options()).await.expect("asked");
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
}

async fn delete(cluster: &Cluster, topic: &str) {
    let deleted = admin(cluster.brokers()).delete_topics(&[topic], &options()).await.expect("asked");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

async fn a_topic_that_is_changed_is_said_and_takes_votes(cluster: Cluster) {
    let topic = fresh("changed");
    let backends = open(&urls(&cluster, &topic)).await.expect("opened");
    assert_eq!(backends.log_warning(), None);
    set(&cluster, &topic, "min.insync.replicas", "1").await;
    let weak = "min.insync.replicas is 1 and must be at least 2";
    says("a warning", || backends.log_warning(), |said| said.is_some_and(|said| said.contains(weak))).await;
    assert_eq!(backends.log_trouble(), None);
    backends.sink.record(crowd(1)[0]).await.expect("recorded");
    set(&cluster, &topic, "min.insync.replicas", "2").await;
    says("no warning", || backends.log_warning(), |said| said.is_none()).await;
    backends.shut_down().await;
}

/// Waits until votes are refused for this reason, and sees that they are.
async fn refuses(backends: &Backends, reason: &str) {
    says("the trouble", || backends.log_trouble(), |said| said.is_some_and(|said| said.contains(reason))).await;
    let refused = backends.sink.record(crowd(1)[0]).await.expect_err("there is no place for it");
    assert!(matches!(&refused, SinkError::NotRecorded { reason: said } if said.contains(reason)), "{refused}");
}

async fn a_topic_that_vanishes_takes_no_votes_until_one_by_its_rules_is_there(cluster: Cluster) {
    let topic = fresh("vanishing");
    let urls = urls(&cluster, &topic);
    let backends = open(&urls).await.expect("opened");
    backends.sink.record(crowd(1)[0]).await.expect("recorded");
    delete(&cluster, &topic).await;
    refuses(&backends, "is gone").await;
    create(cluster.brokers(), &topic, 2, &[("min.insync.replicas", "1")]).await;
    refuses(&backends, "replication.factor is 1 and must be at least 3").await;
    delete(&cluster, &topic).await;
    refuses(&backends, "is gone").await;
    // Whoever starts now makes it by its rules.
    open(&urls).await.expect("opened").shut_down().await;
    says("no trouble", || backends.log_trouble(), |said| said.is_none()).await;
    let recorded = tokio::time::timeout(PATIENCE, backends.sink.record(crowd(1)[0])).await.expect("answered");
    assert!(recorded.expect("recorded").position.is_some());
    backends.shut_down().await;
}

async fn a_backlog_is_said_before_the_topic_drops_it(cluster: Cluster) {
    let topic = fresh("backlog");
    let backends = open(&urls(&cluster, &topic)).await.expect("opened");
    backends.sink.record(crowd(1)[0]).await.expect("recorded");
    // Two days of the week for which a new topic keeps votes, in which nobody counts.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    let shutdown = Shutdown::new();
    let (watched, until) = (backends.clone(), shutdown.clone());
    let watching = tokio::spawn(async move { watched.watch_backlog(clock, until).await });
    let share = "29 % of what the topic keeps";
    says("a warning", || backends.log_warning(), |said| said.is_some_and(|said| said.contains(share))).await;
    let said = backends.log_warning().expect("it was there");
    assert!(said.contains("1 records wait to be counted") && !said.contains(';'), "of one partition: {said}");
    shutdown.request();
    watching.await.expect("it ends");
    backends.shut_down().await;
}
