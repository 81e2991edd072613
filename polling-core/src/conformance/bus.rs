//! The suite of [`UpdateBus`](crate::bus::UpdateBus).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use super::fixture::poll;
use crate::bus::{AUDIENCE_POLLS_MAX, Audience, Notice, Update, UpdateBus};
use crate::checkpoint::{Offset, Partition};
use crate::model::{Tally, Totals, Version};

/// Publications that overrun any subscriber that does not read: more than a bus may keep for one.
const FLOOD: usize = 100_000;

/// Runs the whole suite; each test gets a bus of its own from `make`.
///
/// # Panics
///
/// With the fact that does not hold.
pub async fn update_bus(make: impl AsyncFn() -> Arc<dyn UpdateBus>) {
    every_subscriber_sees_every_update_in_order(make().await).await;
    publishing_to_nobody_is_no_error(make().await).await;
    every_kind_of_update_arrives_as_it_was_sent(make().await).await;
    a_lag_is_a_value_and_not_the_end(make().await).await;
}

fn progress(number: usize) -> Update {
    Update::Progress { partition: Partition(0), next: Offset::ZERO.plus(number) }
}

async fn publish(bus: &Arc<dyn UpdateBus>, updates: Vec<Update>) {
    bus.publish(updates).await.expect("it is published");
}

async fn subscribe(bus: &Arc<dyn UpdateBus>) -> BoxStream<'static, Notice> {
    bus.subscribe().await.expect("it is subscribed")
}

async fn take(stream: &mut BoxStream<'static, Notice>, count: usize) -> Vec<Update> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match stream.next().await {
            Some(Notice::Updates(updates)) => seen.extend(updates.iter().cloned()),
            other => panic!("unexpected: {other:?}"),
        }
    }
    seen
}

async fn every_subscriber_sees_every_update_in_order(bus: Arc<dyn UpdateBus>) {
    let (mut first, mut second) = (subscribe(&bus).await, subscribe(&bus).await);
    let sent: Vec<Update> = (0..50).map(progress).collect();
    for update in &sent {
        publish(&bus, vec![update.clone()]).await;
    }
    assert_eq!(take(&mut first, 50).await, sent);
    drop(first);
    publish(&bus, vec![progress(50)]).await;
    assert_eq!(take(&mut second, 51).await.last(), Some(&progress(50)));
    let mut late = subscribe(&bus).await;
    publish(&bus, vec![progress(51)]).await;
    assert_eq!(take(&mut late, 1).await, [progress(51)], "a subscriber sees what comes after it");
}

async fn publishing_to_nobody_is_no_error(bus: Arc<dyn UpdateBus>) {
    publish(&bus, vec![progress(1)]).await;
    publish(&bus, vec![]).await;
}

async fn every_kind_of_update_arrives_as_it_was_sent(bus: Arc<dyn UpdateBus>) {
    let mut stream = subscribe(&bus).await;
    let poll = poll(100, |_| {});
    let totals = Totals { voters: u64::from(u32::MAX) + 1, votes: (0..100).collect() };
    let tally = Tally { poll: poll.id, version: Version { epoch: 3, number: 9 }, totals };
    let watchers = vec![(poll.id, u32::MAX); AUDIENCE_POLLS_MAX];
    let audience = Audience { server: Uuid::from_u128(7), valid_for: Duration::from_millis(6001), watchers };
    let sent = vec![Update::Tally(tally), Update::Changed(poll.id), progress(7), Update::Audience(audience)];
    publish(&bus, sent.clone()).await;
    assert_eq!(take(&mut stream, 4).await, sent);
}

async fn a_lag_is_a_value_and_not_the_end(bus: Arc<dyn UpdateBus>) {
    let mut slow = subscribe(&bus).await;
    for number in 0..FLOOD {
        publish(&bus, vec![progress(number)]).await;
    }
    // Whatever was not seen must have been admitted as a lag before the first update behind the gap.
    let (mut expected, mut has_lagged) = (0, false);
    while expected < FLOOD {
        match slow.next().await {
            // Twice in a row, when more was lost before anything could be passed on again.
            Some(Notice::Lagged) => has_lagged = true,
            Some(Notice::Updates(updates)) => {
                let first = number_of(&updates[0]);
                assert!(first == expected || (has_lagged && first > expected), "an update is missing and no lag was admitted");
                expected = first + updates.len();
                has_lagged = false;
            }
            None => panic!("the stream ended"),
        }
    }
    publish(&bus, vec![progress(FLOOD)]).await;
    assert_eq!(take(&mut slow, 1).await, [progress(FLOOD)], "the stream goes on");
}

fn number_of(update: &Update) -> usize {
    match update {
        Update::Progress { next, .. } => usize::try_from(next.get()).expect("a small number"),
        other => panic!("unexpected: {other:?}"),
    }
}
