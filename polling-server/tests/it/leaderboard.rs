//! The leaderboard is that of the store, however the news of it comes, or does not.

use std::time::Duration;

use polling_core::bus::Update;
use polling_core::conformance::fixture::{NOW, at, cast, poll};
use polling_core::fault::{FaultRates, Faults};
use polling_core::store::PollStore;
use serde_json::Value;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn the_leaderboard_follows_votes_closings_and_archivings() {
    let (first, second) = (poll(2, |_| {}), poll(2, |_| {}));
    let mut world = World::new(&[&first, &second]).await;
    assert_eq!(world.board.top(10).await.expect("read").entries, []);
    world.apply(&[cast(&first, 1, 1, &[1]), cast(&second, 1, 2, &[2]), cast(&second, 2, 3, &[2])]).await;
    let order = async |world: &World| {
        let body = world.board.top(10).await.expect("read");
        body.entries.iter().map(|entry| (entry.rank, entry.poll_id, entry.votes)).collect::<Vec<_>>()
    };
    assert_eq!(order(&world).await, [(1, second.id.as_uuid(), 2), (2, first.id.as_uuid(), 1)]);
    let before = world.board.top(10).await.expect("read").version;
    world.store.close(second.id, NOW).await.expect("closed");
    world.hub.absorb(&[Update::Changed(second.id)]);
    // The close moved behind the votes that were accepted at this very moment; a second later it has come.
    world.store.archive(second.id).await.expect("archived");
    world.hub.absorb(&[Update::Changed(second.id)]);
    assert_eq!(order(&world).await, [(1, first.id.as_uuid(), 1)]);
    assert!(world.board.top(10).await.expect("read").version > before);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_leaderboard_that_is_dropped_loses_nothing() {
    let poll = poll(2, |_| {});
    let hesitating = FaultRates { hesitate: 100, ..FaultRates::default() };
    let mut world = World::with_faults(&[&poll], Faults::new(hesitating, 1)).await;
    let first_look = world.board.top(10).await.expect("read");
    assert_eq!(first_look.entries, []);
    world.apply(&[cast(&poll, 1, 1, &[1])]).await;
    let mut polled = 0;
    loop {
        let mut look = std::pin::pin!(world.board.top(10));
        // Polled a little further each time, and dropped: as when clients go away.
        let mut done = None;
        for _ in 0..=polled {
            if let std::task::Poll::Ready(body) = futures_util::poll!(&mut look) {
                done = Some(body.expect("read"));
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Some(body) = done {
            assert_eq!(body.entries.len(), 1, "the vote is on the board");
            break;
        }
        polled += 1;
    }
    assert!(polled > 0, "some looks were dropped");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_closes_by_its_plan_leaves_the_leaderboard_without_being_told() {
    let (planned, open) = (poll(2, |draft| draft.closes_at = Some(at(5))), poll(2, |_| {}));
    let mut world = World::new(&[&planned, &open]).await;
    world.apply(&[cast(&planned, 1, 1, &[1]), cast(&open, 1, 2, &[1])]).await;
    assert_eq!(world.board.top(10).await.expect("read").entries.len(), 2);
    world.clock.advance(Duration::from_secs(6));
    let body = world.board.top(10).await.expect("read");
    assert_eq!(body.entries.iter().map(|entry| entry.poll_id).collect::<Vec<_>>(), [open.id.as_uuid()]);
}

#[tokio::test(start_paused = true)]
async fn the_leaderboard_is_rendered_once_for_each_version() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let body = async |world: &World, limit| world.board.sendable(limit).await.expect("read").body;
    let empty = body(&world, 10).await;
    assert_eq!(empty.as_ptr(), body(&world, 10).await.as_ptr());
    world.apply(&[cast(&poll, 1, 1, &[1]), cast(&poll, 2, 2, &[2])]).await;
    let (one, both) = (body(&world, 1).await, body(&world, 10).await);
    assert_eq!((entries(&empty), entries(&one), entries(&both)), (0, 1, 2));
    assert_eq!((one.as_ptr(), both.as_ptr()), (body(&world, 1).await.as_ptr(), body(&world, 10).await.as_ptr()));
}

fn entries(body: &[u8]) -> usize {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    body["entries"].as_array().expect("a list").len()
}
