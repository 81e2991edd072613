//! The suite of a vote log: [`VoteSink`](crate::sink::VoteSink) and [`VoteSource`](crate::source::VoteSource) together.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll as Ready;
use std::time::Duration;

use futures_util::poll as poll_once;

use super::fixture::{cast, poll};
use crate::checkpoint::{Batch, Entry, Offset, Partition};
use crate::model::{Outcome, Poll, Vote};
use crate::retry::Pauses;
use crate::sink::{Recorded, SinkError, VoteSink};
use crate::source::{Refused, SourceEvent, VoteSource};
use crate::store::{Applied, StoreError};

/// Longer than anything takes that is done at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A log, through both of its ends, for the suite. It must be empty, and yield all its partitions to this one source.
pub struct LogUnderTest {
    /// The writing end.
    pub sink: Arc<dyn VoteSink>,
    /// The reading end.
    pub source: Arc<dyn VoteSource>,
    /// Declares that a call to `record` resolves only when its batch was acknowledged, with its outcome.
    pub resolves_when_applied: bool,
    /// Declares how many votes may wait before more are refused, when that can be tried out.
    pub capacity: Option<usize>,
}

/// Runs the whole suite; each test gets a log of its own from `make`, which is told for how many waiting votes.
///
/// It needs a current-thread runtime of Tokio with time, as that of `#[tokio::test]` is: what it spawns has its turn when the suite
/// yields.
///
/// # Panics
///
/// With the fact that does not hold.
pub async fn vote_log(make: impl AsyncFn(usize) -> LogUnderTest) {
    votes_come_out_in_order_without_a_hole(make(100).await).await;
    nothing_comes_before_it_is_told_where_to_begin(make(100).await).await;
    reading_starts_where_it_is_told(make(100).await).await;
    a_partition_is_started_while_an_event_is_waited_for(make(100).await).await;
    what_was_not_acknowledged_comes_again(make(100).await).await;
    a_dropped_next_loses_nothing(make(100).await).await;
    a_call_resolves_when_its_vote_is_durable(make(100).await).await;
    an_acknowledgement_without_outcomes_is_one(make(100).await).await;
    a_refused_batch_is_kept_or_returned(make(100).await).await;
    what_comes_again_is_not_certainly_unrecorded(make(100).await).await;
    a_full_queue_is_refused_at_once(make(3).await).await;
}

/// The next event. Asks again after what every source may answer: brokers may not know a new topic yet.
async fn event(log: &LogUnderTest) -> SourceEvent {
    let mut pauses = Pauses::default();
    loop {
        match log.source.next().await {
            Ok(event) => return event,
            Err(error) => {
                let pause = pauses.next_pause();
                assert!(pause < Duration::from_secs(1), "the log is read: {error:?}");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Starts every partition that is assigned and answers the first batch.
async fn next_batch(log: &LogUnderTest, from: Offset) -> Batch {
    loop {
        match event(log).await {
            SourceEvent::Assigned(partitions) => {
                for partition in partitions {
                    log.source.start(partition, from, None).await.expect("the partition starts");
                }
            }
            SourceEvent::Batch(batch) if !batch.is_empty() => return batch,
            SourceEvent::Batch(_) | SourceEvent::Revoked(_) => {}
            event @ (SourceEvent::Stopped { .. } | SourceEvent::Closed) => panic!("unexpected: {event:?}"),
        }
    }
}

fn record(log: &LogUnderTest, vote: Vote) -> tokio::task::JoinHandle<Result<Recorded, SinkError>> {
    let sink = Arc::clone(&log.sink);
    tokio::spawn(async move { sink.record(vote).await })
}

async fn settled() {
    // Lets the calls that were spawned reach the log; on one thread each turn runs all of them.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Reads until partitions are assigned.
async fn assigned(log: &LogUnderTest) -> Vec<Partition> {
    loop {
        match event(log).await {
            SourceEvent::Assigned(partitions) => return partitions,
            SourceEvent::Revoked(_) => {}
            event => panic!("unexpected: {event:?}"),
        }
    }
}

/// Starts a partition at its beginning, and tries again what every source may ask for: brokers may not know a new topic yet.
async fn start_at_last(log: &LogUnderTest, partition: Partition) {
    let mut pauses = Pauses::default();
    while let Err(error) = log.source.start(partition, Offset::ZERO, None).await {
        let pause = pauses.next_pause();
        assert!(pause < Duration::from_secs(1), "the partition starts: {error:?}");
        tokio::time::sleep(pause).await;
    }
}

fn votes_of(batch: &Batch) -> Vec<Vote> {
    let vote = |entry: &Entry| if let Entry::Vote(vote) = entry { Some(*vote) } else { None };
    batch.positioned().filter_map(|(_, entry)| vote(entry)).collect()
}

async fn acknowledge(log: &LogUnderTest, batch: &Batch) {
    let applied = Applied { outcomes: vec![Outcome::Counted; batch.len()], ..Applied::default() };
    log.source.acknowledge(batch, Some(&applied)).await;
}

fn one_voter(poll: &Poll, ids: std::ops::Range<u32>) -> Vec<Vote> {
    ids.map(|id| cast(poll, 1, id, &[1])).collect()
}

async fn votes_come_out_in_order_without_a_hole(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let sent = one_voter(&poll, 0..30);
    let mut calls = Vec::new();
    for &vote in &sent {
        calls.push(record(&log, vote));
        settled().await;
    }
    let (mut seen, mut place): (Vec<Vote>, Option<(Partition, Offset)>) = (Vec::new(), None);
    while seen.len() < sent.len() {
        let batch = next_batch(&log, Offset::ZERO).await;
        let part = batch.parts().iter().find(|part| !part.entries.is_empty()).expect("one voter, one partition");
        if let Some(expected) = place {
            assert_eq!((part.partition, part.first), expected, "no hole and no repeat");
        }
        place = Some((part.partition, part.next()));
        seen.extend(votes_of(&batch));
        acknowledge(&log, &batch).await;
    }
    assert_eq!(seen, sent, "one voter's votes stay in order");
    for call in calls {
        assert!(call.await.expect("the call ends").is_ok());
    }
}

async fn nothing_comes_before_it_is_told_where_to_begin(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let vote = cast(&poll, 1, 1, &[1]);
    let _call = record(&log, vote);
    settled().await;
    let mut assigned = loop {
        match event(&log).await {
            SourceEvent::Assigned(partitions) => break partitions,
            event => assert!(!matches!(event, SourceEvent::Closed | SourceEvent::Stopped { .. }), "unexpected: {event:?}"),
        }
    };
    // Whoever was assigned them has died, and another one asks.
    for _ in 0..3 {
        let mut next = pin!(log.source.next());
        if let Ready::Ready(event) = poll_once!(&mut next) {
            match event.expect("the log is read") {
                SourceEvent::Assigned(partitions) => assigned.extend(partitions),
                SourceEvent::Batch(batch) if batch.is_empty() => {}
                event => panic!("before the start: {event:?}"),
            }
        }
        settled().await;
    }
    for partition in assigned {
        log.source.start(partition, Offset::ZERO, None).await.expect("the partition starts");
    }
    assert_eq!(votes_of(&next_batch(&log, Offset::ZERO).await), [vote], "it was kept");
}

async fn reading_starts_where_it_is_told(log: LogUnderTest) {
    if !log.resolves_when_applied {
        // A log that keeps its records has offsets of its own; the one in memory takes them from the store.
        return;
    }
    let start = Offset::new(1000).expect("not negative");
    let poll = poll(2, |_| {});
    let call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    let batch = next_batch(&log, start).await;
    assert_eq!(batch.parts()[0].first, start);
    acknowledge(&log, &batch).await;
    let recorded = call.await.expect("the call ends").expect("it is recorded");
    assert_eq!(recorded.position.map(|position| position.offset), Some(start));
}

async fn a_partition_is_started_while_an_event_is_waited_for(log: LogUnderTest) {
    let partitions = assigned(&log).await;
    let vote = cast(&poll(2, |_| {}), 1, 1, &[1]);
    let call = record(&log, vote);
    settled().await;
    let batch = {
        let mut next = pin!(log.source.next());
        assert!(matches!(poll_once!(&mut next), Ready::Pending), "nothing comes from a partition that was not started");
        futures_util::future::join_all(partitions.into_iter().map(|partition| start_at_last(&log, partition))).await;
        match next.await.expect("the log is read") {
            SourceEvent::Batch(batch) => batch,
            event => panic!("unexpected: {event:?}"),
        }
    };
    assert_eq!(votes_of(&batch), [vote]);
    acknowledge(&log, &batch).await;
    assert!(call.await.expect("the call ends").is_ok());
}

async fn what_was_not_acknowledged_comes_again(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let _call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    let batch = next_batch(&log, Offset::ZERO).await;
    if !log.resolves_when_applied {
        let part = &batch.parts()[0];
        log.source.start(part.partition, part.first, None).await.expect("the partition starts again");
    }
    let again = next_batch(&log, Offset::ZERO).await;
    assert_eq!(votes_of(&again)[0], votes_of(&batch)[0]);
}

async fn a_dropped_next_loses_nothing(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let sent = one_voter(&poll, 0..20);
    let mut seen = Vec::new();
    for &vote in &sent {
        let _call = record(&log, vote);
        for _ in 0..3 {
            let mut next = pin!(log.source.next());
            // Polled once and dropped: whatever it had in hand must come out of the next call.
            if let Ready::Ready(event) = poll_once!(&mut next) {
                match event.expect("the log is read") {
                    SourceEvent::Assigned(partitions) => {
                        for partition in partitions {
                            log.source.start(partition, Offset::ZERO, None).await.expect("the partition starts");
                        }
                    }
                    SourceEvent::Batch(batch) => {
                        seen.extend(votes_of(&batch));
                        acknowledge(&log, &batch).await;
                    }
                    event => panic!("unexpected: {event:?}"),
                }
            }
            settled().await;
        }
    }
    while seen.len() < sent.len() {
        let batch = next_batch(&log, Offset::ZERO).await;
        seen.extend(votes_of(&batch));
        acknowledge(&log, &batch).await;
    }
    assert_eq!(seen, sent);
}

async fn a_call_resolves_when_its_vote_is_durable(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    let batch = next_batch(&log, Offset::ZERO).await;
    settled().await;
    assert!(!(call.is_finished() && log.resolves_when_applied), "it was not applied yet");
    let applied = Applied { outcomes: vec![Outcome::Duplicate], conflicts: vec![0], ..Applied::default() };
    log.source.acknowledge(&batch, Some(&applied)).await;
    let recorded = call.await.expect("the call ends").expect("it is recorded");
    if log.resolves_when_applied {
        assert_eq!(recorded.outcome, Some(Outcome::Duplicate), "the outcome is known at once");
        assert!(recorded.is_conflict, "and that it is that of another vote");
    }
}

async fn an_acknowledgement_without_outcomes_is_one(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    let batch = next_batch(&log, Offset::ZERO).await;
    log.source.acknowledge(&batch, None).await;
    assert_eq!(call.await.expect("the call ends").expect("it is recorded").outcome, None);
}

async fn a_refused_batch_is_kept_or_returned(log: LogUnderTest) {
    let poll = poll(2, |_| {});
    let call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    let batch = next_batch(&log, Offset::ZERO).await;
    let refused = log.source.refuse(&batch, &StoreError::Unavailable("the disk is full".into())).await;
    match refused {
        Refused::Kept => acknowledge(&log, &batch).await,
        Refused::Returned => {
            let answer = call.await.expect("the call ends");
            assert!(matches!(answer, Err(SinkError::NotRecorded { .. })), "{answer:?}");
            let _next_call = record(&log, cast(&poll, 2, 2, &[1]));
            settled().await;
            let next = next_batch(&log, Offset::ZERO).await;
            assert_eq!(next.parts()[0].first, batch.parts()[0].first, "its offsets are used again");
            assert_eq!(votes_of(&next), [cast(&poll, 2, 2, &[1])], "it does not come again");
        }
    }
}

async fn what_comes_again_is_not_certainly_unrecorded(log: LogUnderTest) {
    if !log.resolves_when_applied {
        // A log that keeps its records said long ago that they are recorded.
        return;
    }
    let poll = poll(2, |_| {});
    let call = record(&log, cast(&poll, 1, 1, &[1]));
    settled().await;
    // Whoever took it first may have applied it before it died.
    next_batch(&log, Offset::ZERO).await;
    let again = next_batch(&log, Offset::ZERO).await;
    match log.source.refuse(&again, &StoreError::Unavailable("the disk is full".into())).await {
        Refused::Kept => acknowledge(&log, &again).await,
        Refused::Returned => {
            let answer = call.await.expect("the call ends");
            assert!(matches!(answer, Err(SinkError::Unknown { .. })), "{answer:?}");
        }
    }
}

async fn a_full_queue_is_refused_at_once(log: LogUnderTest) {
    let Some(capacity) = log.capacity else { return };
    let poll = poll(2, |_| {});
    let number = u32::try_from(capacity).expect("a small capacity");
    let calls: Vec<_> = one_voter(&poll, 0..number).into_iter().map(|vote| record(&log, vote)).collect();
    settled().await;
    let answer = tokio::time::timeout(AT_ONCE, log.sink.record(cast(&poll, 2, 99, &[1]))).await;
    let answer = answer.expect("a full queue is refused at once");
    assert!(matches!(answer, Err(SinkError::NotRecorded { .. })), "{answer:?}");
    let batch = next_batch(&log, Offset::ZERO).await;
    assert_eq!(batch.len(), capacity, "the refused vote is not among them");
    acknowledge(&log, &batch).await;
    for call in calls {
        assert!(call.await.expect("the call ends").is_ok());
    }
}
