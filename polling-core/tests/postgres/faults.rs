//! Links that break and sessions that die, at the worst moments.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use polling_core::bus::postgres::PostgresBus;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::conformance::fixture::{batch, cast, poll};
use polling_core::model::{Outcome, Poll};
use polling_core::store::postgres::{PostgresOptions, PostgresStore};
use polling_core::store::{PollStore, StoreError, TallyStore};

use crate::postgres_schema::{Place, Session, audit, open};
use crate::proxy::{Cut, Proxy};

crate::tests![
    a_commit_whose_answer_is_lost_is_unknown_and_found_by_the_checkpoint,
    a_commit_that_did_not_arrive_is_unknown_and_applied_again,
    a_session_that_is_ended_midway_leaves_nothing_behind,
    a_frozen_worker_holds_its_partition_back_for_a_bounded_time,
    a_batch_waits_for_a_lock_no_longer_than_it_may,
    sessions_that_died_in_the_meantime_are_replaced,
    a_bus_that_lost_its_session_says_so,
    a_dropped_apply_is_whole_or_nothing,
];

async fn voters(store: &PostgresStore, poll: &Poll) -> u64 {
    store.read(poll.id).await.expect("read").expect("it exists").tally.totals.voters
}

/// A store behind a proxy, and another that goes straight to the server.
async fn through_proxy(place: &Place) -> (Arc<PostgresStore>, Arc<PostgresStore>, Proxy, PostgresOptions) {
    let (direct, options) = place.store().await;
    let (head, database) = place.url().rsplit_once('/').expect("a URL with a database");
    let (user, server) = head.rsplit_once('@').expect("a URL with a user");
    let proxy = Proxy::to(server.to_owned()).await;
    let mut proxied = PostgresOptions::new(&format!("{user}@{}/{database}", proxy.address())).expect("a URL");
    proxied.schema.clone_from(&options.schema);
    proxied.accept_lossy_server = true;
    (open(&proxied).await, direct, proxy, options)
}

async fn a_commit_whose_answer_is_lost_is_unknown_and_found_by_the_checkpoint(place: Place) {
    let (store, direct, proxy, options) = through_proxy(&place).await;
    let poll = poll(2, |_| {});
    direct.create(&poll).await.expect("created");
    proxy.cut(Cut::AfterCommit);
    let votes = batch(0, &[cast(&poll, 1, 1, &[1])]);
    let answer = store.apply(&votes).await;
    assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
    // Applying it again waits for the old session, however it ends, and then tells.
    let answer = store.apply(&votes).await;
    assert!(matches!(answer, Err(StoreError::Fenced { .. })), "{answer:?}");
    assert_eq!(voters(&direct, &poll).await, 1);
    audit(&place, &options).await;
}

async fn a_commit_that_did_not_arrive_is_unknown_and_applied_again(place: Place) {
    let (store, direct, proxy, options) = through_proxy(&place).await;
    let poll = poll(2, |_| {});
    direct.create(&poll).await.expect("created");
    proxy.cut(Cut::BeforeCommit);
    let votes = batch(0, &[cast(&poll, 1, 1, &[1])]);
    let answer = store.apply(&votes).await;
    assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
    assert_eq!(store.apply(&votes).await.expect("applied").outcomes, [Outcome::Counted]);
    assert_eq!(voters(&direct, &poll).await, 1);
    audit(&place, &options).await;
}

/// Waits until so many sessions of the store wait for a lock of another.
async fn wait_until_blocked(place: &Place, schema: &str) -> Vec<i32> {
    let mut auditor = Session::open(place.url(), schema).await;
    let blocked = "SELECT pid FROM pg_stat_activity \
        WHERE application_name = current_setting('search_path') AND cardinality(pg_blocking_pids(pid)) > 0";
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let found: Vec<i32> = auditor.ask(blocked).await;
            if !found.is_empty() {
                return found;
            }
        }
    })
    .await
    .expect("a session is blocked")
}

/// A session that holds the polls of the schema.
async fn hold_polls(place: &Place, schema: &str) -> Session {
    let mut holder = Session::open(place.url(), schema).await;
    holder.run("BEGIN").await;
    holder.run("SELECT number FROM polls FOR UPDATE").await;
    holder
}

async fn a_session_that_is_ended_midway_leaves_nothing_behind(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("created");
    let holder = hold_polls(&place, &options.schema).await;
    let votes = batch(0, &(0..200).map(|voter| cast(&poll, voter, voter, &[1])).collect::<Vec<_>>());
    let applying = {
        let (store, votes) = (Arc::clone(&store), votes.clone());
        tokio::spawn(async move { store.apply(&votes).await })
    };
    // It has written its votes and waits to add them.
    let session = wait_until_blocked(&place, &options.schema).await[0];
    let mut killer = Session::open(place.url(), &options.schema).await;
    killer.run(&format!("SELECT pg_terminate_backend({session})")).await;
    let answer = applying.await.expect("no panic");
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    holder.close().await;
    assert_eq!(voters(&store, &poll).await, 0);
    assert_eq!(killer.ask::<i64>("SELECT count(*) FROM votes").await, [0]);
    assert_eq!(store.apply(&votes).await.expect("applied").outcomes, [Outcome::Counted; 200]);
    audit(&place, &options).await;
}

/// The zombie: it has written and does not commit. Whoever takes over waits for it, until the server ends its session.
async fn a_frozen_worker_holds_its_partition_back_for_a_bounded_time(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("created");
    store.apply(&batch(0, &[cast(&poll, 1, 1, &[1])])).await.expect("applied");
    let mut zombie = Session::open(place.url(), &options.schema).await;
    // As the sessions of the store have it, but shorter.
    zombie.run("SET idle_in_transaction_session_timeout = 500").await;
    zombie.run("BEGIN").await;
    zombie.run("UPDATE checkpoints SET next_offset = 2, counted = 2").await;
    let applied = store.apply(&batch(1, &[cast(&poll, 2, 2, &[1])])).await.expect("applied");
    assert_eq!(applied.outcomes, [Outcome::Counted]);
    assert!(zombie.attempt("COMMIT").await.is_err(), "it wakes up too late");
    audit(&place, &options).await;
}

async fn a_batch_waits_for_a_lock_no_longer_than_it_may(place: Place) {
    let mut options = place.options();
    options.lock_timeout = Duration::from_millis(200);
    let store = open(&options).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("created");
    let holder = hold_polls(&place, &options.schema).await;
    let votes = batch(0, &[cast(&poll, 1, 1, &[1])]);
    let answer = store.apply(&votes).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    holder.close().await;
    store.apply(&votes).await.expect("applied");
}

async fn sessions_that_died_in_the_meantime_are_replaced(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("created");
    store.apply(&batch(0, &[cast(&poll, 1, 1, &[1])])).await.expect("applied");
    assert_eq!(voters(&store, &poll).await, 1);
    let mut killer = Session::open(place.url(), &options.schema).await;
    let ended: Vec<bool> = killer.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = current_setting('search_path') AND state = 'idle'",
    )
    .await;
    assert!(ended.len() >= 3, "{ended:?}");
    assert_eq!(voters(&store, &poll).await, 1, "a read goes on");
    store.apply(&batch(1, &[cast(&poll, 2, 2, &[1])])).await.expect("a batch goes on");
    store.close(poll.id, polling_core::conformance::fixture::at(1)).await.expect("a change of a poll goes on");
    audit(&place, &options).await;
}

async fn a_bus_that_lost_its_session_says_so(place: Place) {
    let options = place.options();
    let bus = PostgresBus::open(&options).await.expect("it opens");
    let mut notices = bus.subscribe().await.expect("subscribed");
    let update = Update::Changed(poll(2, |_| {}).id);
    bus.publish(vec![update.clone()]).await.expect("published");
    assert_eq!(notices.next().await, Some(Notice::Updates([update.clone()].into())));
    let mut killer = Session::open(place.url(), &options.schema).await;
    let listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name = current_setting('search_path') AND query LIKE 'LISTEN %'";
    assert_eq!(killer.ask::<bool>(listening).await, [true]);
    assert_eq!(notices.next().await, Some(Notice::Lagged));
    bus.publish(vec![update.clone()]).await.expect("published");
    assert_eq!(notices.next().await, Some(Notice::Updates([update].into())), "and goes on");
}

async fn a_dropped_apply_is_whole_or_nothing(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("created");
    let (mut applied, mut first) = (0, 0);
    for round in 0..20_u32 {
        let votes = batch(first, &[cast(&poll, round, round, &[1])]);
        // Dropped at different depths.
        let dropped = tokio::time::timeout(Duration::from_micros(u64::from(round) * 300), store.apply(&votes)).await;
        applied += u32::from(matches!(dropped, Ok(Ok(_))));
        match store.apply(&votes).await {
            Ok(_) | Err(StoreError::Fenced { .. }) => first += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(voters(&store, &poll).await, u64::from(round) + 1);
    }
    assert!(applied < 20, "some were dropped");
    audit(&place, &options).await;
}
