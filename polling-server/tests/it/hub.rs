//! Watchers see the newest state, at once and then conflated, and never an older one.

use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::Update;
use polling_core::clock::Clock;
use polling_core::conformance::fixture::{NOW, at, cast, poll};
use polling_core::model::{Poll, ResultsVisibility, Vote};
use polling_core::store::PollStore;
use polling_server::live::frame::PollNews;
use polling_server::live::hub::Watched;
use serde_json::Value;
use tokio::time::Instant;

use crate::world::{INTERVAL, Server, World, frame, next};

#[tokio::test(start_paused = true)]
async fn the_first_change_goes_out_at_once_and_later_ones_are_conflated() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    assert_eq!(frame(&watched.first.with_results.text)["voters"], 0);
    tokio::time::sleep(INTERVAL).await;
    let start = Instant::now();
    world.apply(&[cast(&poll, 0, 0, &[1])]).await;
    assert_eq!(next(&mut watched).await["voters"], 1);
    assert_eq!(start.elapsed(), Duration::ZERO, "at once");
    let (mut frames, mut shown, mut version) = (1, 1, 0);
    for voter in 1..=1000 {
        world.apply(&[cast(&poll, voter, voter, &[1])]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if watched.news.has_changed().expect("the topic lives") {
            let news = next(&mut watched).await;
            assert!(news["version"].as_u64() > Some(version), "the version grows");
            version = news["version"].as_u64().expect("a number");
            shown = news["voters"].as_u64().expect("a number");
            frames += 1;
        }
    }
    assert!((19..=21).contains(&frames), "{frames} frames in a second");
    assert!(shown > 900, "always the newest state");
    assert_eq!(next(&mut watched).await["voters"], 1001, "the last state is shown in the end");
}

#[tokio::test(start_paused = true)]
async fn no_second_has_more_than_21_frames_whenever_a_watcher_comes() {
    const SECOND: Duration = Duration::from_secs(1);
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let mut watchers: Vec<(Watched, Vec<Instant>)> = Vec::new();
    for voter in 0..2500 {
        world.apply(&[cast(&poll, voter, voter, &[1])]).await;
        // The first makes the topic; each of the others comes at another time between two of its frames.
        if voter % 97 == 0 && watchers.len() < 10 {
            watchers.push((world.watch(&poll).await, vec![Instant::now()]));
        }
        world.apply(&[cast(&poll, 5000 + voter, 5000 + voter, &[2])]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        for (watched, frames) in &mut watchers {
            if watched.news.has_changed().expect("the topic lives") {
                next(watched).await;
                frames.push(Instant::now());
            }
        }
    }
    // Whoever has the topic to itself is sent at most that many even when the network delays the first by an interval.
    let (_, frames) = &watchers[0];
    assert!(frames[21] - frames[0] >= SECOND + INTERVAL, "{frames:?}");
    for (_, frames) in watchers {
        assert!(frames.len() > 21, "{} frames", frames.len());
        assert!(frames.windows(22).all(|some| some[21] - some[0] >= SECOND), "{frames:?}");
    }
    let mut first = world.watch(&poll).await;
    world.apply(&[cast(&poll, 9999, 9999, &[1])]).await;
    assert!(next(&mut first).await["voters"].as_u64() >= Some(5000), "the flood is over and nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn a_tally_behind_a_gap_is_never_shown_with_an_old_definition() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    let in_time = world.apply_silently(&[cast(&poll, 1, 1, &[1])]).await;
    world.store.close(poll.id, at(0)).await.expect("closed");
    // Neither the vote nor the close is published, and the next tally is two versions on.
    drop(in_time);
    let accepted_before = cast(&poll, 2, 2, &[2]);
    world.apply(&[accepted_before]).await;
    let news = next(&mut watched).await;
    assert_eq!((news["state"].as_str(), news["voters"].as_u64()), (Some("closed"), Some(2)), "it was in time");
    let version = world.views.poll(poll.id).await.expect("read").expect("exists").snapshot().tally.version;
    assert_eq!(news["version"].as_u64(), Some(version.number));
    assert!(world.views.poll(poll.id).await.expect("read").expect("exists").snapshot().poll.closes_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lost_update_costs_a_watcher_one_period() {
    let poll = poll(2, |_| {});
    let mut world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    world.apply_silently(&[cast(&poll, 1, 1, &[1])]).await;
    let start = Instant::now();
    assert_eq!(next(&mut watched).await["voters"], 1);
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_secs(1), "nobody told");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_of_an_archived_poll_is_told() {
    let poll = poll(2, |_| {});
    let world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    world.store.archive(poll.id).await.expect("archived");
    world.hub.absorb(&[Update::Changed(poll.id)]);
    assert_eq!(next(&mut watched).await, Value::Null);
    assert!(world.hub.watch_poll(poll.id).await.expect("read").is_none());
}

#[tokio::test]
async fn a_poll_that_is_not_there_is_looked_for_once_and_found_when_it_is_announced() {
    let (made_here, made_elsewhere) = (poll(2, |_| {}), poll(2, |_| {}));
    let world = World::new(&[]).await;
    let is_shown = async |poll: &Poll| world.views.poll(poll.id).await.expect("read").is_some();
    let start = Instant::now();
    for poll in [&made_here, &made_elsewhere] {
        assert!(!is_shown(poll).await);
        world.store.create(poll).await.expect("created");
    }
    let looked_again = is_shown(&made_elsewhere).await;
    assert!(!looked_again || start.elapsed() >= Duration::from_secs(1), "the store was not asked again at once");
    world.views.forget(made_here.id);
    assert!(is_shown(&made_here).await, "at once");
    let found = async {
        while !is_shown(&made_elsewhere).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("it is looked for again");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_watches_is_forgotten() {
    let poll = poll(2, |_| {});
    let world = World::new(&[&poll]).await;
    for _ in 0..3 {
        let watched = world.watch(&poll).await;
        assert_eq!(world.hub.topics_watched(), 1);
        drop(watched);
        tokio::time::sleep(2 * INTERVAL).await;
        assert_eq!(world.hub.topics_watched(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hidden_results_are_not_in_the_frame_for_everybody() {
    let poll = poll(2, |draft| draft.results = ResultsVisibility::AfterClose);
    let mut world = World::new(&[&poll]).await;
    world.apply(&[cast(&poll, 1, 1, &[1])]).await;
    let first = world.watch(&poll).await.first;
    assert!(!first.public);
    let hidden = frame(&first.without_results.text);
    assert_eq!((hidden["voters"].as_u64(), hidden.get("options")), (Some(1), None));
    assert_eq!(frame(&first.with_results.text)["options"][0]["votes"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_by_the_owner_is_shown_by_a_server_whose_clock_is_behind() {
    let poll = poll(2, |draft| draft.results = ResultsVisibility::AfterClose);
    let world = World::new(&[&poll]).await;
    world.clock.advance(Duration::from_secs(1));
    let behind = world.another_server(NOW);
    let mut watched = behind.watch(&poll).await;
    let closed = world.store.close(poll.id, at(1)).await.expect("closed").expect("the poll exists");
    behind.hub.absorb(&[Update::Changed(poll.id)]);
    let shown = next(&mut watched).await;
    assert_eq!((shown["state"].as_str(), shown["version"].as_u64()), (Some("closed"), Some(closed.tally.version.number)));
    assert!(matches!(&*watched.news.borrow(), PollNews::Frame(frame) if frame.public), "the results are shown to all");
    assert_eq!(state_in_body(&behind, &poll).await, "closed", "as in the frame of this version");
    assert_eq!(behind.watch(&poll).await.first.version, closed.tally.version);
    behind.clock.advance(Duration::from_secs(1));
    assert_eq!(state_in_body(&behind, &poll).await, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_close_after_the_clock_was_set_back_is_shown_at_once_and_once() {
    let poll = poll(2, |draft| draft.results = ResultsVisibility::Always);
    let mut world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    world.apply(&[Vote { accepted_at: at(3600), ..cast(&poll, 1, 1, &[1]) }]).await;
    assert_eq!(next(&mut watched).await["state"], "open");
    assert_eq!(world.board.top(10).await.expect("read").entries.len(), 1);
    let closed = world.store.close(poll.id, at(0)).await.expect("closed").expect("the poll exists");
    let news = [Update::Changed(poll.id)];
    world.hub.absorb(&news);
    world.board.absorb(&news);
    let shown = next(&mut watched).await;
    assert_eq!((shown["state"].as_str(), shown["version"].as_u64()), (Some("closed"), Some(closed.tally.version.number)));
    assert_eq!(state_in_body(&world, &poll).await, "closed");
    assert_eq!(world.board.top(10).await.expect("read").entries, []);
    world.clock.advance(Duration::from_secs(4000));
    assert_eq!(world.store.transition(at(4000)).await.expect("it answers").changed, [], "that was all");
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_is_shown_by_a_server_whose_clock_is_behind() {
    let poll = poll(2, |draft| (draft.opens_at, draft.closes_at) = (Some(at(10)), Some(at(20))));
    let world = World::new(&[&poll]).await;
    let mut watched = world.watch(&poll).await;
    assert_eq!(frame(&watched.first.with_results.text)["state"], "scheduled");
    for (seconds, state) in [(10, "open"), (20, "closed")] {
        // By the clock of another server, which is the first to find that the time has come.
        assert_eq!(world.store.transition(at(seconds)).await.expect("made").changed, [poll.id]);
        world.hub.absorb(&[Update::Changed(poll.id)]);
        assert_eq!(next(&mut watched).await["state"], state);
        assert_eq!(state_in_body(&world, &poll).await, state);
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_together_share_a_frame_as_long_as_it_is_true() {
    let poll = poll(2, |draft| draft.opens_at = Some(at(1)));
    let world = World::new(&[&poll]).await;
    let (first, second) = (world.watch(&poll).await.first, world.watch(&poll).await.first);
    assert!(Arc::ptr_eq(&first, &second));
    // Nobody has given the opening a version yet.
    world.clock.advance(Duration::from_secs(1));
    let third = world.watch(&poll).await.first;
    assert_eq!((third.version, frame(&third.with_results.text)["state"].as_str()), (first.version, Some("open")));
}

async fn state_in_body(server: &Server, poll: &Poll) -> String {
    let view = server.views.poll(poll.id).await.expect("read").expect("the poll exists");
    frame(std::str::from_utf8(&view.sendable(server.clock.now(), true).body).expect("a text"))["state"]
        .as_str()
        .expect("a word")
        .into()
}
