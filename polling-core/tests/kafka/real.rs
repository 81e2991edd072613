//! Against a real cluster: what the brokers in this process do not have, such as administration and topics that are replaced.
//!
//! Left out where there is no cluster, in plain sight.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use polling_core::audit::{Extent, Record, RetainedLog};
use polling_core::bus::kafka::KafkaBus;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::checkpoint::{Offset, Partition, RecordDigest};
use polling_core::conformance::{LogUnderTest, update_bus, vote_log};
use polling_core::fault::{Faults, FaultyBus, FaultySink, FaultySource};
use polling_core::kafka::{Cluster, TopicError, TopicRules, ensure_topic};
use polling_core::open::{Urls, open};
use polling_core::sink::kafka::KafkaSink;
use polling_core::source::kafka::{KafkaRetainedLog, KafkaSource};
use polling_core::source::{SourceEvent, VoteSource};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset as ClientOffset, TopicPartitionList};
use uuid::Uuid;

use crate::mock::crowd;
use crate::real_tests;
use crate::source::{alarm, assigned, event, offset, read, votes, write};

real_tests! {
    a_log_in_kafka_is_a_vote_log,
    a_bus_over_kafka_is_an_update_bus,
    a_bus_whose_topic_grows_is_read_whole_again,
    urls_open_a_log_and_a_bus,
    a_topic_is_created_by_its_rules_and_a_weak_one_is_refused on 3,
    a_topic_waits_for_enough_brokers_and_for_nothing_that_never_comes,
    records_that_are_gone_stop_their_partition_and_no_other,
    an_onlooker_reads_what_is_retained,
    a_topic_that_is_replaced_while_it_is_read_stops,
    a_topic_that_is_replaced_while_nobody_reads_stops,
    a_worker_that_closes_is_replaced_within_five_seconds,
}

/// How long administrative requests may take.
const ADMIN_WAIT: Duration = Duration::from_secs(20);

pub(super) fn fresh(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4())
}

pub(super) fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client")
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_WAIT)).operation_timeout(Some(ADMIN_WAIT))
}

pub(super) async fn create(brokers: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let replication = TopicReplication::Fixed(1);
    let topic =
        settings.iter().fold(NewTopic::new(topic, partitions, replication), |topic, (name, value)| topic.set(name, value));
    // The name of a topic that was just deleted is free after a while.
    for _ in 0..100 {
        let result = admin(brokers).create_topics([&topic], &options()).await.expect("asked").remove(0);
        match result {
            Ok(_) => return,
            Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the old topic does not go away");
}

async fn a_log_in_kafka_is_a_vote_log(cluster: Cluster) {
    let log = async |_capacity| {
        let topic = fresh("suite");
        create(cluster.brokers(), &topic, 3, &[]).await;
        let sink = KafkaSink::open(&cluster, &*topic, 1000).expect("opened");
        let source = KafkaSource::new(cluster.clone(), &*topic, fresh("group"));
        // How many may wait is tried out where brokers can be made to stand still.
        LogUnderTest { sink: Arc::new(sink), source: Arc::new(source), resolves_when_applied: false, capacity: None }
    };
    vote_log(log).await;
    vote_log(async |capacity| {
        let log = log(capacity).await;
        let sink = Arc::new(FaultySink::new(log.sink, Faults::none()));
        LogUnderTest { sink, source: Arc::new(FaultySource::new(log.source, Faults::none())), ..log }
    })
    .await;
}

async fn a_bus_over_kafka_is_an_update_bus(cluster: Cluster) {
    let bus = async || {
        let topic = fresh("updates");
        let rules = TopicRules::updates(&*topic);
        ensure_topic(&cluster, &rules).await.expect("created");
        Arc::new(KafkaBus::open(cluster.clone(), topic).expect("opened")) as Arc<dyn UpdateBus>
    };
    update_bus(bus).await;
    update_bus(async || Arc::new(FaultyBus::new(bus().await, Faults::none())) as Arc<dyn UpdateBus>).await;
}

async fn a_bus_whose_topic_grows_is_read_whole_again(cluster: Cluster) {
    let topic = fresh("updates");
    ensure_topic(&cluster, &TopicRules::updates(&*topic)).await.expect("created");
    let bus = KafkaBus::open(cluster.clone(), &*topic).expect("opened");
    let mut before = bus.subscribe().await.expect("subscribed");
    admin(cluster.brokers()).create_partitions([&NewPartitions::new(&topic, 8)], &options()).await.expect("more partitions");
    // Whoever listens is told to begin again, within a bound.
    let ended = tokio::time::timeout(Duration::from_secs(40), async { while before.next().await.is_some() {} });
    ended.await.expect("the stream ends");
    let mut after = bus.subscribe().await.expect("subscribed");
    // Of eight publishers at least one writes into a partition that is new.
    for number in 0..8 {
        let update = Update::Progress { partition: Partition(number), next: offset(1) };
        let publisher = KafkaBus::open(cluster.clone(), &*topic).expect("opened");
        publisher.publish(vec![update.clone()]).await.expect("published");
        let news = tokio::time::timeout(Duration::from_secs(20), after.next()).await.expect("it comes");
        assert_eq!(news, Some(Notice::Updates([update].into())));
    }
}

async fn urls_open_a_log_and_a_bus(cluster: Cluster) {
    let (brokers, votes, updates) = (cluster.brokers(), fresh("votes"), fresh("poll-updates"));
    let urls = Urls {
        log: format!("kafka://{brokers}/{votes}?partitions=2&accept-weak-topic=true&group={}", fresh("group")),
        store: "memory:".to_owned(),
        bus: format!("kafka://{brokers}/{updates}"),
        data_dir: PathBuf::new(),
    };
    let backends = open(&urls).await.expect("opened");
    assert!(backends.memory_log.is_none());
    let recorded = backends.sink.record(crowd(1)[0]).await.expect("recorded");
    let SourceEvent::Assigned(partitions) = backends.source.next().await.expect("read") else { panic!("no partitions") };
    assert_eq!(partitions.len(), 2);
    for partition in partitions {
        backends.source.start(partition, Offset::ZERO, None).await.expect("started");
    }
    let SourceEvent::Batch(batch) = backends.source.next().await.expect("read") else { panic!("no batch") };
    assert_eq!(batch.positioned().next().map(|(position, _)| position), recorded.position);
    let mut news = backends.bus.subscribe().await.expect("subscribed");
    let update = Update::Progress { partition: Partition(0), next: offset(1) };
    backends.bus.publish(vec![update.clone()]).await.expect("published");
    assert_eq!(news.next().await, Some(Notice::Updates([update].into())));
    backends.shut_down().await;
    assert!(backends.sink.record(crowd(1)[0]).await.is_err());
    assert_eq!(backends.source.next().await.expect("read"), SourceEvent::Closed);
}

async fn a_topic_is_created_by_its_rules_and_a_weak_one_is_refused(cluster: Cluster) {
    let rules = TopicRules { partitions: 5, exact_partitions: true, ..TopicRules::votes(fresh("strong")) };
    assert_eq!(ensure_topic(&cluster, &rules).await.expect("created"), 5);
    assert_eq!(ensure_topic(&cluster, &rules).await.expect("found"), 5);
    let more = TopicRules { partitions: 6, ..rules };
    let refusal = ensure_topic(&cluster, &more).await.expect_err("another number").to_string();
    assert!(refusal.contains("partitions is 5 and must be 6"), "{refusal}");

    let weak = fresh("weak");
    create(cluster.brokers(), &weak, 3, &[("min.insync.replicas", "1"), ("cleanup.policy", "compact")]).await;
    let refusal = ensure_topic(&cluster, &TopicRules::votes(&*weak)).await.expect_err("it is weak");
    assert!(matches!(refusal, TopicError::Weak { .. }));
    let text = refusal.to_string();
    for weakness in [
        "replication.factor is 1 and must be at least 3",
        "min.insync.replicas is 1 and must be at least 2",
        "cleanup.policy is compact and must be delete",
    ] {
        assert!(text.contains(weakness) && text.contains(&weak), "{text}");
    }
    let accepted = TopicRules { accept_weak: true, ..TopicRules::votes(&*weak) };
    assert_eq!(ensure_topic(&cluster, &accepted).await.expect("accepted"), 3);
}

async fn a_topic_waits_for_enough_brokers_and_for_nothing_that_never_comes(cluster: Cluster) {
    let rules = TopicRules { replication: 100, ..TopicRules::votes(fresh("early")) };
    let early = ensure_topic(&cluster, &rules).await.expect_err("there are not so many brokers");
    assert!(early.is_retryable(), "{early}");
    assert!(early.to_string().contains("100 replicas (replication=100 in the URL)"), "{early}");
    let nameless = ensure_topic(&cluster, &TopicRules::votes("no/name")).await.expect_err("it is no name");
    assert!(!nameless.is_retryable() && matches!(nameless, TopicError::NotCreated { .. }), "{nameless}");
}

async fn records_that_are_gone_stop_their_partition_and_no_other(cluster: Cluster) {
    let topic = fresh("gone");
    create(cluster.brokers(), &topic, 2, &[]).await;
    write(&cluster, &topic, 0, &votes(10));
    let source = KafkaSource::new(cluster.clone(), &*topic, fresh("group"));
    assert_eq!(assigned(&source).await.len(), 2);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, ClientOffset::Offset(6)).expect("added");
    admin(cluster.brokers()).delete_records(&list, &options()).await.expect("deleted");
    source.start(Partition(0), offset(4), None).await.expect("answered by an event");
    let (partition, text) = alarm(&source).await;
    assert_eq!(partition, Partition(0));
    assert_eq!(text, "the next record to count is at offset 4 and the log begins at 6: records are gone");
    source.start(Partition(1), Offset::ZERO, None).await.expect("started");
    write(&cluster, &topic, 1, &votes(3));
    read(&source, Partition(1), 0, 3).await;
    // A person has decided.
    source.start(Partition(0), offset(6), None).await.expect("started");
    read(&source, Partition(0), 6, 4).await;
}

async fn an_onlooker_reads_what_is_retained(cluster: Cluster) {
    let topic = fresh("retained");
    let log = KafkaRetainedLog::new(cluster.clone(), &*topic);
    let missing = log.extents().await.expect_err("there is no topic");
    assert!(std::error::Error::source(&missing).is_some_and(|why| why.to_string().contains("there is no topic")), "{missing:?}");
    create(cluster.brokers(), &topic, 2, &[]).await;
    // More than one piece.
    let records = votes(2500);
    write(&cluster, &topic, 0, &records);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, ClientOffset::Offset(6)).expect("added");
    admin(cluster.brokers()).delete_records(&list, &options()).await.expect("deleted");
    let extents = log.extents().await.expect("the brokers answer");
    let expected = [
        (Partition(0), Extent { first: offset(6), end: offset(2500) }),
        (Partition(1), Extent { first: offset(0), end: offset(0) }),
    ];
    assert_eq!(extents, expected.into());
    let pieces: Vec<Vec<Record>> = log.read(Partition(0), offset(6), offset(2400)).try_collect().await.expect("read");
    let read: Vec<(Offset, &[u8])> = pieces.iter().flatten().map(|record| (record.offset, &*record.bytes)).collect();
    let wanted = records[6..2400].iter().enumerate().map(|(index, bytes)| (offset(6).plus(index), &**bytes));
    assert!(read.into_iter().eq(wanted));
    let gone = log.read(Partition(0), offset(4), offset(8)).next().await;
    assert!(matches!(gone, Some(Err(_))), "{gone:?}");
}

async fn a_topic_that_is_replaced_while_it_is_read_stops(cluster: Cluster) {
    let topic = fresh("replaced");
    create(cluster.brokers(), &topic, 1, &[]).await;
    let records = votes(5);
    write(&cluster, &topic, 0, &records);
    let source = KafkaSource::new(cluster.clone(), &*topic, fresh("group"));
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    source.start(partition, Offset::ZERO, None).await.expect("started");
    read(&source, partition, 0, 5).await;
    let last = records.last().map(|record| RecordDigest::of(record));
    admin(cluster.brokers()).delete_topics(&[&topic], &options()).await.expect("deleted");
    create(cluster.brokers(), &topic, 1, &[]).await;
    // More than before, so that the place to go on is one that the new topic has.
    write(&cluster, &topic, 0, &votes(20));
    let (_, text) = stopped(&source, last).await;
    assert!(text.contains("another one has its name") || text.contains("the log is another"), "{text}");
}

async fn a_topic_that_is_replaced_while_nobody_reads_stops(cluster: Cluster) {
    let (topic, group) = (fresh("replaced"), fresh("group"));
    create(cluster.brokers(), &topic, 1, &[]).await;
    let records = votes(5);
    write(&cluster, &topic, 0, &records);
    let last = records.last().map(|record| RecordDigest::of(record));
    admin(cluster.brokers()).delete_topics(&[&topic], &options()).await.expect("deleted");
    create(cluster.brokers(), &topic, 1, &[]).await;
    write(&cluster, &topic, 0, &votes(20));
    let source = KafkaSource::new(cluster, &*topic, group);
    let (_, text) = stopped(&source, last).await;
    assert_eq!(text, "the record at offset 4 is not the one that was counted: the log is another");
}

/// Waits for the alarm. While the topic was away the group may have taken the partition back and given it again.
async fn stopped(source: &KafkaSource, last: Option<RecordDigest>) -> (Partition, String) {
    loop {
        match tokio::time::timeout(Duration::from_secs(60), source.next()).await.expect("an alarm comes") {
            Ok(SourceEvent::Stopped { partition, alarm }) => return (partition, alarm),
            Ok(SourceEvent::Assigned(partitions)) => {
                for partition in partitions {
                    source.start(partition, offset(5), last).await.expect("examined");
                }
            }
            // The new topic is longer than the old one, so it can be read until somebody looks.
            Ok(SourceEvent::Revoked(_) | SourceEvent::Batch(_)) | Err(_) => {}
            Ok(event) => panic!("unexpected: {event:?}"),
        }
    }
}

async fn a_worker_that_closes_is_replaced_within_five_seconds(cluster: Cluster) {
    let (topic, group) = (fresh("handover"), fresh("group"));
    create(cluster.brokers(), &topic, 4, &[]).await;
    let first = KafkaSource::new(cluster.clone(), &*topic, &*group);
    assert_eq!(assigned(&first).await.len(), 4);
    let second = KafkaSource::new(cluster, &*topic, &*group);
    let (ours, theirs) = tokio::join!(assigned(&first), assigned(&second));
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    let closing = std::time::Instant::now();
    first.close().await;
    let _revoked = event(&second).await;
    assert_eq!(assigned(&second).await.len(), 4);
    assert!(closing.elapsed() < Duration::from_secs(5), "{:?}", closing.elapsed());
}
