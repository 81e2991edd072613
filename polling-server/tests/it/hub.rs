//! Watchers see the newest state, at once and then conflated, and never an older one.

use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::Update;
use polling_core::checkpoint::Batch;
use polling_core::clock::ManualClock;
use polling_core::conformance::fixture::{NOW, at, batch, cast, poll};
use polling_core::fault::{FaultRates, Faults, FaultyStore};
use polling_core::model::{Poll, Vote};
use polling_core::shutdown::Shutdown;
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use polling_server::live::board::Board;
use polling_server::live::frame::PollNews;
use polling_server::live::hub::{Hub, Watched};
use polling_server::live::views::Views;
use serde_json::Value;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_millis(50);

struct World {
    store: Arc<MemoryStore>,
    views: Arc<Views>,
    board: Arc<Board>,
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
    offset: u64,
}

impl World {
    async fn new(polls: &[&Poll]) -> Self {
        Self::with_faults(polls, Faults::none()).await
    }

    /// Polls are read through a store with these faults.
    async fn with_faults(polls: &[&Poll], faults: Faults) -> Self {
        let store = Arc::new(MemoryStore::default());
        for poll in polls {
            store.create(poll).await.expect("created");
        }
        let clock = Arc::new(ManualClock::new(NOW));
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&store) as Arc<dyn PollStore>, faults));
        let views = Arc::new(Views::new(faulty, clock.clone()));
        let tallies = Arc::clone(&store) as Arc<dyn TallyStore>;
        let board = Arc::new(Board::new(Arc::clone(&tallies), Arc::clone(&views), clock.clone()));
        let hub = Hub::new(Arc::clone(&views), Arc::clone(&board), tallies, clock.clone(), INTERVAL);
        tokio::spawn(Arc::clone(&hub).run(Shutdown::new()));
        Self { store, views, board, hub, clock, offset: 0 }
    }

    /// Applies votes without a word to anybody; answers what should have been published.
    async fn apply_silently(&mut self, votes: &[Vote]) -> Vec<Update> {
        let batch: Batch = batch(self.offset, votes);
        self.offset += votes.len() as u64;
        let applied = self.store.apply(&batch).await.expect("applied");
        applied.tallies.into_iter().map(Update::Tally).collect()
    }

    async fn apply(&mut self, votes: &[Vote]) {
        let updates = self.apply_silently(votes).await;
        self.hub.absorb(&updates);
    }

    async fn watch(&self, poll: &Poll) -> Watched {
        self.hub.watch_poll(poll.id).await.expect("read").expect("the poll exists")
    }
}

fn frame(text: &str) -> Value {
    serde_json::from_str(text).expect("a frame is JSON")
}

async fn next(watched: &mut Watched) -> Value {
    watched.news.changed().await.expect("the topic lives");
    match &*watched.news.borrow_and_update() {
        PollNews::Frame(news) => frame(&news.with_results.text),
        PollNews::Gone => Value::Null,
    }
}

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
    assert_eq!((news["state"].as_str(), news["voters"].as_u64()), (Some("open"), Some(2)), "closes after the last vote");
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
    let poll = poll(2, |draft| draft.results = polling_core::model::ResultsVisibility::AfterClose);
    let mut world = World::new(&[&poll]).await;
    world.apply(&[cast(&poll, 1, 1, &[1])]).await;
    let first = world.watch(&poll).await.first;
    assert!(!first.public);
    let hidden = frame(&first.without_results.text);
    assert_eq!((hidden["voters"].as_u64(), hidden.get("options")), (Some(1), None));
    assert_eq!(frame(&first.with_results.text)["options"][0]["votes"], 1);
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
