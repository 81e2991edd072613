//! How many watch a poll, for those who ask.

use std::sync::Arc;
use std::time::Duration;

use polling_core::bus::UpdateBus;
use polling_core::bus::memory::MemoryBus;
use polling_core::clock::ManualClock;
use polling_core::conformance::fixture::{NOW, batch, cast, poll};
use polling_core::model::Poll;
use polling_core::shutdown::Shutdown;
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use polling_server::live::board::Board;
use polling_server::live::follow::follow;
use polling_server::live::frame::{PollFrame, PollNews};
use polling_server::live::hub::{Hub, Watched};
use polling_server::live::shown::Shown;
use polling_server::live::views::Views;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::live::{Client, Server, live};

/// The next frame of this type. Others may come before it.
async fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.frame().await;
        if frame["type"] == kind {
            return frame;
        }
    }
}

/// Waits until the client is told this number.
async fn sees(client: &mut Client, viewers: u64) {
    while next_of(client, "viewers").await["viewers"] != viewers {}
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_told_how_many_watch_and_nobody_else() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut asking = server.connect(&format!("{}?viewers=1", live(&poll))).await;
    let first = asking.frame().await;
    assert_eq!((&first["type"], &first["viewers"], &first["version"]), (&json!("results"), &json!(1), &json!(1)));
    let mut plain = server.connect(&live(&poll)).await;
    assert_eq!(plain.frame().await.get("viewers"), None);
    let number = next_of(&mut asking, "viewers").await;
    assert_eq!(number, json!({ "type": "viewers", "poll_id": poll.id.to_string(), "viewers": 2 }));
    let mut several = server.connect("/live?viewers=1").await;
    several.say(&json!({ "subscribe": [poll.id.to_string()] })).await;
    assert_eq!(several.frame().await["viewers"], 3);
    sees(&mut asking, 3).await;
    server.vote(&poll, 1).await;
    assert_eq!(next_of(&mut asking, "results").await["viewers"], 3);
    assert_eq!(next_of(&mut several, "results").await["viewers"], 3);
    let frame = plain.frame().await;
    assert_eq!((&frame["type"], &frame["voters"], frame.get("viewers")), (&json!("results"), &json!(1), None));
    drop(plain);
    several.say(&json!({ "unsubscribe": [poll.id.to_string()] })).await;
    sees(&mut asking, 1).await;
    let known = format!("{}?viewers=1&after=1.2", live(&poll));
    let mut back = server.connect(&known).await;
    assert_eq!(back.frame().await["type"], "viewers", "the snapshot is known, and the number is not");
    assert_eq!(server.refused(&format!("{}?viewers=yes", live(&poll)), &[]).await, (422, "validation".into()));
    assert_eq!(server.connect(&format!("{}?viewers=0", live(&poll))).await.frame().await.get("viewers"), None);
}

/// A hub over a store that others have, too.
fn hub(store: &Arc<MemoryStore>) -> Arc<Hub> {
    let clock = Arc::new(ManualClock::new(NOW));
    let views = Arc::new(Views::new(Arc::clone(store) as Arc<dyn PollStore>, clock.clone()));
    let tallies = Arc::clone(store) as Arc<dyn TallyStore>;
    let board = Arc::new(Board::new(Arc::clone(&tallies), Arc::clone(&views), clock.clone()));
    Hub::new(views, board, tallies, clock, Duration::from_millis(50))
}

async fn ask(hub: &Arc<Hub>, poll: &Poll) -> Watched {
    hub.watch_counted_poll(poll.id).await.expect("read").expect("the poll exists")
}

async fn watch(hub: &Arc<Hub>, poll: &Poll) -> Watched {
    hub.watch_poll(poll.id).await.expect("read").expect("the poll exists")
}

fn count(frame: &PollFrame) -> u64 {
    frame.viewers.as_ref().expect("asked for").count
}

/// What the watcher is told next.
async fn told(watched: &mut Watched) -> u64 {
    watched.news.changed().await.expect("the topic lives");
    match &*watched.news.borrow_and_update() {
        PollNews::Frame(frame) => count(frame),
        PollNews::Gone => panic!("gone"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_alone_comes_at_most_once_a_second() {
    let (store, poll) = (Arc::new(MemoryStore::default()), poll(2, |_| {}));
    store.create(&poll).await.expect("created");
    let hub = hub(&store);
    let mut asking = ask(&hub, &poll).await;
    assert_eq!(count(&asking.first), 1);
    let (since, mut numbers, mut others) = (Instant::now(), Vec::new(), Vec::new());
    while since.elapsed() < Duration::from_millis(3500) {
        others.push(watch(&hub, &poll).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
        if asking.news.has_changed().expect("the topic lives") {
            numbers.push(told(&mut asking).await);
        }
    }
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    others.clear();
    assert_eq!(told(&mut asking).await, 1);
    let still = tokio::time::timeout(Duration::from_secs(60), told(&mut asking)).await;
    assert!(still.is_err(), "nobody comes or goes");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_is_told_when_others_go_at_once() {
    let (store, poll) = (Arc::new(MemoryStore::default()), poll(2, |_| {}));
    store.create(&poll).await.expect("created");
    let hub = hub(&store);
    let before = ask(&hub, &poll).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut after = ask(&hub, &poll).await;
    assert_eq!(count(&after.first), 2);
    drop(before);
    let soon = tokio::time::timeout(Duration::from_secs(2), told(&mut after)).await;
    assert_eq!(soon.expect("although it is the number of before"), 1);
    let still = tokio::time::timeout(Duration::from_secs(60), told(&mut after)).await;
    assert!(still.is_err(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_nobody_asks_about_is_not_counted() {
    let (store, poll) = (Arc::new(MemoryStore::default()), poll(2, |_| {}));
    store.create(&poll).await.expect("created");
    let hub = hub(&store);
    let (asking, plain) = (ask(&hub, &poll).await, watch(&hub, &poll).await);
    assert_eq!(count(&ask(&hub, &poll).await.first), 3);
    drop(asking);
    drop(plain);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.topics_watched(), 0, "the counting watches nothing by itself");
}

#[tokio::test(start_paused = true)]
async fn an_archived_poll_is_gone_for_those_who_count() {
    let (store, poll) = (Arc::new(MemoryStore::default()), poll(2, |_| {}));
    store.create(&poll).await.expect("created");
    let hub = hub(&store);
    let mut asking = ask(&hub, &poll).await;
    store.archive(poll.id).await.expect("archived");
    hub.absorb(&[polling_core::bus::Update::Changed(poll.id)]);
    asking.news.changed().await.expect("told");
    assert!(matches!(&*asking.news.borrow(), PollNews::Gone));
    assert!(hub.watch_counted_poll(poll.id).await.expect("read").is_none());
}

#[tokio::test(start_paused = true)]
async fn servers_tell_each_other_how_many_watch_and_forget_one_that_is_silent() {
    let (store, poll, bus) = (Arc::new(MemoryStore::default()), poll(2, |_| {}), Arc::new(MemoryBus::new()));
    store.create(&poll).await.expect("created");
    let servers: Vec<(Arc<Hub>, Shutdown)> = (0..3).map(|_| (hub(&store), Shutdown::new())).collect();
    for (hub, shutdown) in &servers {
        let bus = Arc::clone(&bus) as Arc<dyn UpdateBus>;
        let following = Arc::clone(hub);
        tokio::spawn(follow(Arc::clone(&bus), move |updates| following.absorb(updates), || {}, Shutdown::new()));
        tokio::spawn(Arc::clone(hub).announce(bus, shutdown.clone()));
    }
    let here = &servers[0].0;
    let mut asking = ask(here, &poll).await;
    let _plain = watch(here, &poll).await;
    let elsewhere = [watch(&servers[1].0, &poll).await, watch(&servers[2].0, &poll).await, ask(&servers[2].0, &poll).await];
    let until = async |asking: &mut Watched, wanted: u64| {
        let since = Instant::now();
        while told(asking).await != wanted {}
        since.elapsed()
    };
    assert!(until(&mut asking, 5).await <= Duration::from_secs(4));
    let [first, second, third] = elsewhere;
    drop(second);
    drop(third);
    assert!(until(&mut asking, 3).await <= Duration::from_secs(4));
    // That server ends without a word.
    servers[1].1.request();
    let silent_for = until(&mut asking, 2).await;
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&silent_for), "{silent_for:?}");
    drop(first);
}

#[tokio::test]
async fn a_snapshot_gives_way_to_newer_news_alone() {
    let (store, poll) = (MemoryStore::default(), poll(2, |_| {}));
    store.create(&poll).await.expect("created");
    let before = Arc::new(PollFrame::new(&store.read(poll.id).await.expect("read").expect("there"), NOW));
    store.apply(&batch(0, &[cast(&poll, 1, 1, &[1])])).await.expect("applied");
    let after = Arc::new(PollFrame::new(&store.read(poll.id).await.expect("read").expect("there"), NOW));
    let shown = |first: &Arc<PollFrame>, news: PollNews| match news.or_newer(Arc::clone(first)) {
        PollNews::Frame(shown) => Some(shown),
        PollNews::Gone => None,
    };
    let is = |shown: Option<Arc<PollFrame>>, wanted: &Arc<PollFrame>| shown.is_some_and(|shown| Arc::ptr_eq(&shown, wanted));
    assert!(is(shown(&before, PollNews::Frame(Arc::clone(&after))), &after), "it came during the handshake");
    assert!(is(shown(&after, PollNews::Frame(Arc::clone(&before))), &after), "it was made before the snapshot");
    let same = Arc::new(before.with_viewers(poll.id, 1));
    assert!(is(shown(&before, PollNews::Frame(same)), &before), "it says the same, and maybe an older number");
    assert!(shown(&before, PollNews::Gone).is_none());
}

#[test]
fn a_number_says_nothing_of_versions_and_comes_only_when_it_is_new() {
    let poll = poll(2, |_| {});
    let store = MemoryStore::default();
    let snapshot = |votes| {
        futures_util::FutureExt::now_or_never(async {
            store.create(&poll).await.expect("created");
            let votes: Vec<_> = (0..votes).map(|voter| cast(&poll, voter, voter, &[1])).collect();
            let _again = store.apply(&batch(0, &votes)).await;
            store.read(poll.id).await.expect("read").expect("there")
        })
        .expect("memory answers at once")
    };
    let (before, after) = (PollFrame::new(&snapshot(0), NOW), PollFrame::new(&snapshot(1), NOW));
    let mut shown = Shown::default();
    let mut next = |frame: &PollFrame| {
        shown.news_in(frame, false).map(|rendered| {
            let event = std::str::from_utf8(&rendered.event).expect("UTF-8");
            assert!(event.ends_with(&format!("data: {}\n\n", rendered.text)), "{event}");
            serde_json::from_str::<Value>(&rendered.text).expect("JSON")
        })
    };
    let with = |frame: &PollFrame, count| frame.with_viewers(poll.id, count);
    assert_eq!(next(&with(&before, 7)).expect("a snapshot")["viewers"], 7);
    assert_eq!(next(&with(&before, 7)), None);
    assert_eq!(next(&with(&before, 8)).expect("a number")["type"], "viewers");
    let results = next(&with(&with(&after, 3), 9)).expect("results");
    assert_eq!((&results["type"], &results["viewers"], &results["version"]), (&json!("results"), &json!(9), &json!(2)));
    assert_eq!(next(&with(&before, 9)), None, "an older state is not shown, whatever the number");
}
