//! What comes out of the log, from where, and when a partition stops.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use polling_core::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use polling_core::kafka::Cluster;
use polling_core::model::codec;
use polling_core::source::kafka::KafkaSource;
use polling_core::source::{SourceEvent, VoteSource};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::mock::{TOPIC, crowd, mock};

use crate::mock_tests;

mock_tests! {
    reading_begins_where_the_store_says_and_again_wherever_it_says,
    a_partition_that_was_not_started_yields_nothing_and_the_others_do,
    more_than_a_batch_waits_and_nothing_of_it_is_lost,
    what_was_held_back_and_begun_anew_is_read,
    what_cannot_be_read_is_a_dead_letter_and_a_newer_version_stops_its_partition,
    a_place_behind_the_end_of_the_log_stops_the_partition,
    a_log_is_known_by_the_last_record_that_was_counted,
    a_record_that_is_damaged_stops_its_partition_and_no_other,
    a_worker_that_closes_leaves_its_partitions_to_the_other,
    reading_goes_on_when_the_brokers_come_back,
}

/// Bounds tests that wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes records into a partition as any program might.
pub(super) fn write(cluster: &Cluster, topic: &str, partition: i32, records: &[Vec<u8>]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.brokers()).set("linger.ms", "0").create().expect("a producer");
    for bytes in records {
        let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(partition).payload(bytes);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(PATIENCE).expect("written");
}

/// Writes a record whose checksum is wrong, which no client does, as a broker keeps it whose disk has lost a bit.
/// <https://kafka.apache.org/documentation/#recordbatch>
fn write_damaged(broker: &str, partition: i32, value: &[u8]) {
    // Lengths below 64 and small differences are one byte each: twice the number.
    let twice = |number: usize| vec![u8::try_from(2 * number).expect("a short record")];
    // No attributes, no differences, no key (minus one is written as one), the value, no headers.
    let body = [vec![0, 0, 0, 1], twice(value.len()), value.to_vec(), vec![0]].concat();
    let record = [twice(body.len()), body].concat();
    let (no_producer, no_time) = ((-1_i64).to_be_bytes(), 0_i64.to_be_bytes());
    let after_checksum = [
        &[0; 2][..], // Attributes.
        &[0; 4],     // The last record is the first.
        &no_time,
        &no_time,
        &no_producer,
        &[0xff; 2], // No epoch of a producer.
        &[0xff; 4], // No sequence.
        &1_i32.to_be_bytes(),
        &record,
    ]
    .concat();
    let counted = i32::try_from(4 + 1 + 4 + after_checksum.len()).expect("a short batch");
    let batch = [&[0; 8][..], &counted.to_be_bytes(), &[0; 4], &[2], &0xdead_beef_u32.to_be_bytes(), &after_checksum].concat();
    let text = |text: &str| [&i16::try_from(text.len()).expect("a short text").to_be_bytes()[..], text.as_bytes()].concat();
    let request = [
        &[0, 0, 0, 7, 0, 0, 0, 1][..], // Produce, version 7, the first request.
        &text("test"),
        &[0xff; 2],              // No transaction.
        &[0xff; 2],              // All replicas acknowledge.
        &5000_i32.to_be_bytes(), // Milliseconds.
        &1_i32.to_be_bytes(),    // One topic,
        &text(TOPIC),
        &1_i32.to_be_bytes(), // one partition,
        &partition.to_be_bytes(),
        &i32::try_from(batch.len()).expect("a short batch").to_be_bytes(),
        &batch,
    ]
    .concat();
    let mut stream = TcpStream::connect(broker).expect("connected");
    stream.write_all(&u32::try_from(request.len()).expect("a short request").to_be_bytes()).expect("sent");
    stream.write_all(&request).expect("sent");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("answered");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("answered");
    // Behind the number of the request, one topic with its name, and one partition with its number.
    let error = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
    assert_eq!(answer[error..error + 2], [0, 0], "it is in the log");
}

pub(super) fn votes(count: u32) -> Vec<Vec<u8>> {
    crowd(count).iter().map(codec::encode).collect()
}

pub(super) fn offset(number: i64) -> Offset {
    Offset::new(number).expect("not negative")
}

pub(super) async fn event(source: &KafkaSource) -> SourceEvent {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("an event comes").expect("the log is read")
}

pub(super) async fn assigned(source: &KafkaSource) -> Vec<Partition> {
    loop {
        match event(source).await {
            SourceEvent::Assigned(partitions) => return partitions,
            SourceEvent::Revoked(_) => {}
            event => panic!("unexpected: {event:?}"),
        }
    }
}

pub(super) async fn batch(source: &KafkaSource) -> Batch {
    match event(source).await {
        SourceEvent::Batch(batch) => batch,
        event => panic!("unexpected: {event:?}"),
    }
}

pub(super) async fn alarm(source: &KafkaSource) -> (Partition, String) {
    match event(source).await {
        SourceEvent::Stopped { partition, alarm } => (partition, alarm),
        event => panic!("unexpected: {event:?}"),
    }
}

/// Reads so many records of a partition, and asserts that they are those that come next.
pub(super) async fn read(source: &KafkaSource, partition: Partition, from: i64, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let batch = batch(source).await;
        for part in batch.parts() {
            let PartitionBatch { partition: found, first, .. } = part;
            assert_eq!((*found, *first), (partition, offset(from).plus(entries.len())));
            entries.extend(part.entries.iter().cloned());
        }
        source.acknowledge(&batch, None).await;
    }
    entries
}

async fn reading_begins_where_the_store_says_and_again_wherever_it_says() {
    let (_brokers, cluster) = mock(1);
    let crowd = crowd(100);
    write(&cluster, TOPIC, 0, &crowd.iter().map(codec::encode).collect::<Vec<_>>());
    let source = KafkaSource::new(cluster, TOPIC, "group");
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    source.start(partition, offset(40), None).await.expect("started");
    let entries = read(&source, partition, 40, 60).await;
    assert_eq!(entries, crowd[40..].iter().copied().map(Entry::Vote).collect::<Vec<_>>());
    source.start(partition, offset(90), None).await.expect("started again");
    read(&source, partition, 90, 10).await;
    source.start(partition, Offset::ZERO, None).await.expect("started again");
    read(&source, partition, 0, 100).await;
}

async fn a_partition_that_was_not_started_yields_nothing_and_the_others_do() {
    let (_brokers, cluster) = mock(2);
    write(&cluster, TOPIC, 0, &votes(5));
    write(&cluster, TOPIC, 1, &votes(5));
    let source = KafkaSource::new(cluster.clone(), TOPIC, "group");
    assert_eq!(assigned(&source).await.len(), 2);
    source.start(Partition(1), Offset::ZERO, None).await.expect("started");
    read(&source, Partition(1), 0, 5).await;
    source.start(Partition(0), offset(3), None).await.expect("started");
    read(&source, Partition(0), 3, 2).await;
    write(&cluster, TOPIC, 1, &votes(2));
    read(&source, Partition(1), 5, 2).await;
}

async fn more_than_a_batch_waits_and_nothing_of_it_is_lost() {
    let (_brokers, cluster) = mock(1);
    let source = KafkaSource::new(cluster.clone(), TOPIC, "group");
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    source.start(partition, Offset::ZERO, None).await.expect("started");
    write(&cluster, TOPIC, 0, &votes(35_000));
    read(&source, partition, 0, 35_000).await;
}

async fn what_was_held_back_and_begun_anew_is_read() {
    let (_brokers, cluster) = mock(1);
    write(&cluster, TOPIC, 0, &votes(35_000));
    let source = KafkaSource::new(cluster, TOPIC, "group");
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    // Nobody takes what comes, so more than a batch is soon held back; and then the loop is fenced.
    for _ in 0..20 {
        source.start(partition, Offset::ZERO, None).await.expect("started");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    read(&source, partition, 0, 35_000).await;
}

async fn what_cannot_be_read_is_a_dead_letter_and_a_newer_version_stops_its_partition() {
    let (_brokers, cluster) = mock(2);
    write(&cluster, TOPIC, 0, &[votes(1).remove(0), b"rubbish".to_vec(), vec![8, 2], votes(1).remove(0)]);
    let source = KafkaSource::new(cluster.clone(), TOPIC, "group");
    assigned(&source).await;
    for partition in [Partition(0), Partition(1)] {
        source.start(partition, Offset::ZERO, None).await.expect("started");
    }
    let entries = read(&source, Partition(0), 0, 2).await;
    assert!(matches!(&entries[..], [Entry::Vote(_), Entry::DeadLetter(letter)] if letter.bytes == b"rubbish"));
    let (partition, text) = alarm(&source).await;
    assert_eq!(
        (partition, &*text),
        (Partition(0), "at offset 2: the record has major version 2, and this program reads version 1")
    );
    write(&cluster, TOPIC, 1, &votes(3));
    read(&source, Partition(1), 0, 3).await;
}

async fn a_place_behind_the_end_of_the_log_stops_the_partition() {
    let (_brokers, cluster) = mock(1);
    write(&cluster, TOPIC, 0, &votes(5));
    let source = KafkaSource::new(cluster, TOPIC, "group");
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    source.start(partition, offset(9), None).await.expect("it is answered by an event");
    let (_, text) = alarm(&source).await;
    assert_eq!(text, "the next record to count is at offset 9 and the log ends at 5: it was cut, or it is another one");
}

async fn a_log_is_known_by_the_last_record_that_was_counted() {
    let (_brokers, cluster) = mock(1);
    write(&cluster, TOPIC, 0, &votes(5));
    let first = KafkaSource::new(cluster.clone(), TOPIC, "group");
    let [partition] = assigned(&first).await[..] else { panic!("one partition") };
    first.start(partition, Offset::ZERO, None).await.expect("started");
    let (mut next, mut last) = (Offset::ZERO, None);
    while next < offset(5) {
        let batch = batch(&first).await;
        (next, last) = (batch.parts()[0].next(), batch.parts()[0].last);
    }
    first.close().await;
    // Another process, which knows what the store keeps.
    write(&cluster, TOPIC, 0, &votes(2));
    let second = KafkaSource::new(cluster, TOPIC, "group");
    assigned(&second).await;
    second.start(partition, next, last).await.expect("started");
    read(&second, partition, 5, 2).await;
    // The topic goes on beyond the checkpoint, and is not the one that was counted.
    second.start(partition, next, Some(RecordDigest::of(b"another record"))).await.expect("it is answered by an event");
    assert_eq!(alarm(&second).await.1, "the record at offset 4 is not the one that was counted: the log is another");
}

async fn a_record_that_is_damaged_stops_its_partition_and_no_other() {
    let (brokers, cluster) = mock(2);
    let leader = cluster.brokers().split(',').next().expect("a broker").to_owned();
    brokers.partition_leader(TOPIC, 0, Some(1)).expect("the first broker leads");
    write(&cluster, TOPIC, 0, &votes(3));
    write_damaged(&leader, 0, b"a vote");
    write(&cluster, TOPIC, 0, &votes(3));
    let source = KafkaSource::new(cluster.clone(), TOPIC, "group");
    assert_eq!(assigned(&source).await.len(), 2);
    for partition in [Partition(0), Partition(1)] {
        source.start(partition, Offset::ZERO, None).await.expect("started");
    }
    read(&source, Partition(0), 0, 3).await;
    let (partition, text) = alarm(&source).await;
    assert_eq!(
        (partition, &*text),
        (Partition(0), "the record at offset 3, or the one before it, is damaged on the broker that leads")
    );
    write(&cluster, TOPIC, 1, &votes(3));
    read(&source, Partition(1), 0, 3).await;
}

async fn a_worker_that_closes_leaves_its_partitions_to_the_other() {
    let (_brokers, cluster) = mock(4);
    let first = KafkaSource::new(cluster.clone(), TOPIC, "group");
    assert_eq!(assigned(&first).await.len(), 4);
    let second = KafkaSource::new(cluster, TOPIC, "group");
    // Both must be listened to: the group waits for the answers of all.
    let (ours, theirs) = tokio::join!(assigned(&first), assigned(&second));
    let all: BTreeSet<_> = ours.iter().chain(&theirs).collect();
    assert_eq!((ours.len(), theirs.len(), all.len()), (2, 2, 4));
    first.close().await;
    assert_eq!(event(&first).await, SourceEvent::Closed);
    assert_eq!(assigned(&second).await.len(), 4);
}

async fn reading_goes_on_when_the_brokers_come_back() {
    let (brokers, cluster) = mock(1);
    let source = KafkaSource::new(cluster.clone(), TOPIC, "group");
    let [partition] = assigned(&source).await[..] else { panic!("one partition") };
    source.start(partition, Offset::ZERO, None).await.expect("started");
    write(&cluster, TOPIC, 0, &votes(3));
    read(&source, partition, 0, 3).await;
    brokers.broker_down(-1).expect("all brokers go");
    assert!(tokio::time::timeout(PATIENCE, source.next()).await.expect("it is said").is_err(), "no broker, no log");
    brokers.broker_up(-1).expect("all brokers come");
    write(&cluster, TOPIC, 0, &votes(3));
    let rest = tokio::time::timeout(PATIENCE, async {
        loop {
            match source.next().await {
                Ok(SourceEvent::Batch(batch)) => return batch,
                Ok(SourceEvent::Assigned(partitions)) => {
                    for partition in partitions {
                        source.start(partition, offset(3), None).await.expect("started");
                    }
                }
                Ok(SourceEvent::Revoked(_)) | Err(_) => {}
                Ok(event) => panic!("unexpected: {event:?}"),
            }
        }
    });
    assert_eq!(rest.await.expect("it goes on").parts()[0].first, offset(3));
}
