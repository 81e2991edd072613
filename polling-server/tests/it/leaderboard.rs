//! The leaderboard is that of the store, however the news of it comes, or does not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use polling_core::bus::memory::MemoryBus;
use polling_core::bus::{Update, UpdateBus};
use polling_core::conformance::fixture::{NOW, at, cast, poll, retract};
use polling_core::fault::{FaultRates, Faults};
use polling_core::model::{Poll, PollId, ResultsVisibility, Vote};
use polling_core::shutdown::Shutdown;
use polling_core::store::PollStore;
use polling_server::live::board::REFILL_INTERVAL;
use polling_server::live::follow::follow;
use polling_server::live::frame::BoardFrame;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::{INTERVAL, World, frame};

/// The best options: of which poll, and their votes.
async fn top(world: &World, limit: usize) -> Vec<(PollId, u64)> {
    let body = world.board.top(limit).await.expect("read");
    body.entries.iter().map(|entry| (PollId::from_uuid(entry.poll_id).expect("a poll"), entry.votes)).collect()
}

/// Waits for a frame that must come, if only because the board is held against the store.
async fn changed(frames: &mut watch::Receiver<Option<BoardFrame>>) {
    let changed = tokio::time::timeout(2 * REFILL_INTERVAL, frames.changed());
    changed.await.expect("a frame in time").expect("the hub lives");
}

/// So many votes for the first option, of voters who have not voted.
fn votes(poll: &Poll, from: u32, count: u32) -> Vec<Vote> {
    (from..from + count).map(|voter| cast(poll, voter, voter, &[1])).collect()
}

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

#[tokio::test(start_paused = true)]
async fn a_lost_update_costs_those_who_watch_the_leaderboard_one_period() {
    let (shown, unknown) = (poll(2, |_| {}), poll(2, |_| {}));
    let mut world = World::new(&[&shown, &unknown]).await;
    world.apply(&votes(&shown, 0, 1)).await;
    let (_, mut frames) = world.hub.watch_leaderboard().await.expect("read");
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.apply_silently(&votes(&unknown, 100, 2)).await;
    let start = Instant::now();
    changed(&mut frames).await;
    assert!(start.elapsed() <= REFILL_INTERVAL, "{:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_secs(2), "nobody told");
    let first = frame(&frames.borrow_and_update().as_ref().expect("a frame").rendered.text);
    assert_eq!((&first["entries"][0]["votes"], &first["entries"][1]["previous_rank"]), (&Value::from(2), &Value::from(1)));
    // What somebody has seen of a poll that is on it is there sooner.
    let updates = world.apply_silently(&votes(&shown, 200, 5)).await;
    world.views.absorb(&updates);
    let start = Instant::now();
    changed(&mut frames).await;
    assert!(start.elapsed() <= Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(top(&world, 1).await, [(shown.id, 6)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_the_leaderboard_after_a_while_sees_what_nobody_told() {
    let (shown, unknown) = (poll(2, |_| {}), poll(2, |_| {}));
    let mut world = World::new(&[&shown, &unknown]).await;
    world.apply(&votes(&shown, 0, 1)).await;
    assert_eq!(top(&world, 10).await, [(shown.id, 1)]);
    world.apply_silently(&votes(&unknown, 100, 2)).await;
    assert_eq!(top(&world, 10).await, [(shown.id, 1)], "nobody told");
    tokio::time::sleep(3 * REFILL_INTERVAL).await;
    assert_eq!(top(&world, 10).await, [(unknown.id, 2), (shown.id, 1)]);
    let scans = world.watched.scans.load(Ordering::SeqCst);
    tokio::time::sleep(10 * REFILL_INTERVAL).await;
    assert!(world.watched.scans.load(Ordering::SeqCst) <= scans + 1, "nobody looks");
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_first_subscription_to_the_bus_is_found() {
    let (shown, unknown) = (poll(2, |_| {}), poll(2, |_| {}));
    let mut world = World::new(&[&shown, &unknown]).await;
    assert_eq!(top(&world, 10).await, []);
    world.apply_silently(&[votes(&shown, 0, 1), votes(&unknown, 100, 2)].concat()).await;
    assert_eq!(top(&world, 10).await, []);
    let (absorbing, losing) = (Arc::clone(&world.hub), Arc::clone(&world.hub));
    let bus = Arc::new(MemoryBus::default()) as Arc<dyn UpdateBus>;
    let shutdown = Shutdown::new();
    let mut following = Box::pin(follow(bus, move |updates| absorbing.absorb(updates), move || losing.forget_all(), shutdown));
    assert!(futures_util::poll!(&mut following).is_pending());
    assert_eq!(top(&world, 10).await, [(unknown.id, 2), (shown.id, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_older_tally_that_is_late_takes_nothing_back() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let late = world.apply_silently(&votes(&poll, 0, 1)).await;
    world.apply_silently(&votes(&poll, 100, 1)).await;
    assert_eq!(top(&world, 10).await, [(poll.id, 2)]);
    world.board.absorb(&late);
    assert_eq!(top(&world, 10).await, [(poll.id, 2)]);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_leaderboard_is_shown_as_it_was_last() {
    let (shown, hidden) = (poll(2, |_| {}), poll(2, |draft| draft.results = ResultsVisibility::AfterVote));
    let mut world = World::new(&[&shown, &hidden]).await;
    world.apply(&[votes(&shown, 0, 1), votes(&hidden, 100, 2)].concat()).await;
    world.watched.is_away.store(true, Ordering::SeqCst);
    assert!(world.board.top(10).await.is_err(), "nothing is known yet");
    world.watched.is_away.store(false, Ordering::SeqCst);
    assert_eq!(top(&world, 10).await, [(shown.id, 1)]);
    world.watched.is_away.store(true, Ordering::SeqCst);
    world.apply(&votes(&hidden, 200, 1)).await;
    world.hub.forget_all();
    tokio::time::sleep(3 * REFILL_INTERVAL).await;
    assert_eq!(top(&world, 10).await, [(shown.id, 1)]);
    world.apply_silently(&votes(&shown, 300, 1)).await;
    world.watched.is_away.store(false, Ordering::SeqCst);
    assert_eq!(top(&world, 10).await, [(shown.id, 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_of_a_poll_counts_although_the_store_cannot_say_how_it_is() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    assert_eq!(top(&world, 10).await, []);
    assert!(world.views.poll(poll.id).await.expect("read").is_some());
    // The news between is lost, so that what is known of the poll is not the newest.
    world.apply_silently(&votes(&poll, 0, 1)).await;
    world.watched.is_away.store(true, Ordering::SeqCst);
    world.apply(&votes(&poll, 100, 1)).await;
    assert_eq!(top(&world, 10).await, [(poll.id, 2)]);
    world.watched.is_away.store(false, Ordering::SeqCst);
    assert_eq!(top(&world, 10).await, [(poll.id, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_the_leaderboard_shows_something_else_than_the_one_before() {
    let polls: Vec<Poll> = (0..11).map(|_| poll(2, |_| {})).collect();
    let mut world = World::new(&polls.iter().collect::<Vec<_>>()).await;
    for (poll, number) in polls.iter().zip(0..) {
        world.apply(&votes(poll, 1000 * number, 20 - number)).await;
    }
    let (first, mut frames) = world.hub.watch_leaderboard().await.expect("read");
    tokio::time::sleep(2 * INTERVAL).await;
    // The second overtakes the first.
    world.apply(&votes(&polls[1], 50_000, 2)).await;
    frames.changed().await.expect("the hub lives");
    let moved = frames.borrow_and_update().clone().expect("a frame");
    assert_eq!(frame(&moved.rendered.text)["entries"][0]["previous_rank"], 2);
    for voter in 0..3 {
        // Behind the places of a frame.
        world.board.top(100).await.expect("read");
        world.apply(&[cast(&polls[10], 60_000 + voter, 60_000 + voter, &[2])]).await;
        tokio::time::sleep(2 * INTERVAL).await;
    }
    assert!(!frames.has_changed().expect("the hub lives"), "nothing that is shown has changed");
    let (joined, _) = world.hub.watch_leaderboard().await.expect("read");
    assert_eq!(joined.version, moved.version);
    assert!(joined.version > first.version);
    assert_eq!(joined.rendered.text, moved.rendered.text, "what moved is still said");
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_between_two_frames_is_told_when_it_is_as_it_was_before() {
    let poll = poll(2, |draft| draft.allow_change = true);
    let mut world = World::new(&[&poll]).await;
    world.apply(&votes(&poll, 0, 1)).await;
    let (_, mut frames) = world.hub.watch_leaderboard().await.expect("read");
    tokio::time::sleep(2 * INTERVAL).await;
    world.apply(&votes(&poll, 100, 1)).await;
    changed(&mut frames).await;
    // The next frame has to wait for its time.
    world.apply(&votes(&poll, 200, 1)).await;
    let (first, mut joined) = world.hub.watch_leaderboard().await.expect("read");
    assert_eq!(frame(&first.rendered.text)["entries"][0]["votes"], 3);
    world.apply(&[retract(&poll, 200, 1200)]).await;
    tokio::time::sleep(2 * INTERVAL).await;
    assert!(joined.has_changed().expect("the hub lives"), "three votes are not the truth any more");
    let news = joined.borrow_and_update().clone().expect("a frame");
    assert!(news.version > first.version);
    assert_eq!(frame(&news.rendered.text)["entries"][0]["votes"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_row_is_damaged_is_left_out_and_the_others_are_shown() {
    let polls: Vec<Poll> = (0..3).map(|_| poll(2, |_| {})).collect();
    let mut world = World::new(&polls.iter().collect::<Vec<_>>()).await;
    // One is damaged when the board is filled, and another when there is news of it.
    world.watched.damaged.lock().expect("nobody panicked").extend([polls[0].id, polls[1].id]);
    world.apply(&votes(&polls[0], 0, 3)).await;
    assert_eq!(top(&world, 10).await, []);
    world.apply(&[votes(&polls[1], 100, 2), votes(&polls[2], 200, 1)].concat()).await;
    assert_eq!(top(&world, 10).await, [(polls[2].id, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_look_at_the_leaderboard_reads_what_it_shows() {
    let polls: Vec<Poll> = (0..1000).map(|_| poll(2, |_| {})).collect();
    let mut world = World::new(&polls.iter().collect::<Vec<_>>()).await;
    for (poll, voter) in polls.iter().zip(0..) {
        world.apply(&votes(poll, voter, 1)).await;
    }
    assert_eq!(top(&world, 10).await.len(), 10);
    assert_eq!(world.watched.reads.load(Ordering::SeqCst), 10);
    assert_eq!(world.watched.scans.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn however_many_look_at_the_leaderboard_the_store_is_scanned_once() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    world.watched.is_slow.send_replace(true);
    let looks = || join_all((0..500).map(|_| world.board.top(10)).collect::<Vec<_>>());
    let (mut first, mut second) = (Box::pin(looks()), Box::pin(looks()));
    for looks in [&mut first, &mut second] {
        assert!(futures_util::poll!(looks).is_pending());
    }
    assert_eq!(world.watched.scans.load(Ordering::SeqCst), 1);
    world.watched.is_away.store(true, Ordering::SeqCst);
    world.watched.is_slow.send_replace(false);
    assert!([first.await, second.await].iter().flatten().all(Result::is_err), "all are refused together");
    assert_eq!(world.watched.scans.load(Ordering::SeqCst), 2);
    world.watched.is_away.store(false, Ordering::SeqCst);
    world.apply(&votes(&poll, 0, 1)).await;
    assert_eq!(top(&world, 10).await, [(poll.id, 1)]);
}

#[tokio::test(start_paused = true)]
async fn when_all_that_the_board_holds_closes_at_once_the_others_take_its_place() {
    // More options than the board holds, each with a vote more than that of the last poll.
    let all: Vec<u64> = (1..=100).collect();
    let closing: Vec<Poll> = (0..42)
        .map(|_| {
            poll(100, |draft| {
                draft.max_choices = Some(100);
                draft.closes_at = Some(at(5));
            })
        })
        .collect();
    let open = poll(2, |_| {});
    let mut world = World::new(&closing.iter().chain([&open]).collect::<Vec<_>>()).await;
    for (poll, number) in closing.iter().zip(0..) {
        world.apply_silently(&[cast(poll, 2 * number, 2 * number, &all), cast(poll, 2 * number + 1, 2 * number + 1, &all)]).await;
    }
    world.apply_silently(&votes(&open, 1000, 1)).await;
    assert!(top(&world, 10).await.iter().all(|&(poll, votes)| poll != open.id && votes == 2));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(top(&world, 10).await, [(open.id, 1)]);
}
