//! The suites of the traits, and random histories, on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use polling_core::bus::postgres::PostgresBus;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::conformance::fixture::{NOW, poll};
use polling_core::conformance::{RandomHistory, StoreUnderTest, assert_equals_the_oracle, poll_store, tally_store, update_bus};
use polling_core::fault::{Faults, FaultyStore};
use polling_core::store::{PollFilter, PollStore, TallyStore};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::crashes::{events, rates, run_on_a_kept_log};
use crate::postgres_schema::{Place, Session, audit};
use crate::world::{Honest, Patience};

/// Schedules of faults. Each commits a hundred times.
const SCHEDULES: u32 = 12;
/// A step that takes longer is dropped half way, which is one more fault to survive.
const STEP: Patience = Patience::Time(Duration::from_millis(30));

crate::tests![
    the_postgres_store_is_a_poll_store,
    the_postgres_store_is_a_tally_store,
    the_postgres_store_passes_through_wrappers,
    a_question_that_an_earlier_version_folded_is_found,
    plain_sql_finds_the_tallies_to_be_the_votes,
    every_statement_can_be_prepared,
    no_statement_of_a_batch_walks_through_a_table_that_grows,
    the_postgres_bus_is_an_update_bus,
    updates_pass_from_one_process_to_another,
    a_kept_log_is_counted_once_whatever_fails,
];

async fn the_postgres_store_is_a_poll_store(place: Place) {
    poll_store(async || place.under_test().await).await;
}

async fn the_postgres_store_is_a_tally_store(place: Place) {
    tally_store(async || place.under_test().await).await;
}

async fn the_postgres_store_passes_through_wrappers(place: Place) {
    let wrapped = async || {
        let mut store = place.under_test().await;
        store.polls = Arc::new(FaultyStore::new(store.polls, Faults::none())) as Arc<dyn PollStore>;
        store.tallies = Arc::new(FaultyStore::new(store.tallies, Faults::none())) as Arc<dyn TallyStore>;
        store
    };
    poll_store(wrapped).await;
    tally_store(wrapped).await;
}

async fn a_question_that_an_earlier_version_folded_is_found(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |draft| draft.question = "Ποια ΟΔΟΣ;".to_owned());
    store.create(&poll).await.expect("it is created");
    let mut session = Session::open(place.url(), &options.schema).await;
    let before = "UPDATE poll_texts SET question_folded = 'ποια οδος;' RETURNING question_folded";
    assert_eq!(session.ask::<String>(before).await, ["Ποια ΟΔΟΣ;".to_lowercase()]);
    for part in ["ΟΔΟΣ", "οδος", "οδοσ", "Σ;", "ποια"] {
        let filter = PollFilter { text: Some(part.to_owned()), ..PollFilter::default() };
        assert_eq!(store.rank(&filter, 10, NOW).await.expect("polls are ranked"), [poll.id], "{part}");
    }
}

async fn plain_sql_finds_the_tallies_to_be_the_votes(place: Place) {
    for seed in 100..110 {
        let (store, options) = place.store().await;
        let store = StoreUnderTest::forgetful(store);
        let history = RandomHistory::new(seed);
        for poll in &history.polls {
            store.polls.create(poll).await.expect("it is created");
        }
        for batch in history.batches() {
            store.tallies.apply(&batch).await.expect("it is applied");
        }
        assert_equals_the_oracle(&store, &history.votes).await;
        audit(&place, &options).await;
    }
}

async fn every_statement_can_be_prepared(place: Place) {
    let (store, _) = place.store().await;
    assert!(store.prepare_statements().await.expect("they are prepared") > 30);
}

/// Planned on empty tables that the server knows to be empty, which is when a walk through all of one looks cheapest.
async fn no_statement_of_a_batch_walks_through_a_table_that_grows(place: Place) {
    let (store, options) = place.store().await;
    let mut owner = Session::open(place.url(), &options.schema).await;
    owner.run("ANALYZE polls, poll_texts, votes, past_votes").await;
    for (statement, plan) in store.plans().await.expect("they are planned") {
        let lines: Vec<&str> = plan.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" Scan ")) {
            let of_few = ["Function Scan", "Subquery Scan", "Seq Scan on store"].iter().any(|scan| line.contains(scan));
            let by_key = lines.get(index + 1).is_some_and(|next| next.contains("Index Cond:") || next.contains("TID Cond:"));
            assert!(of_few || by_key, "{line} in\n{plan}\nof {statement}");
        }
        assert!(!["Hash", "Merge", "Join Filter"].iter().any(|word| plan.contains(word)), "{plan}\nof {statement}");
    }
}

async fn the_postgres_bus_is_an_update_bus(place: Place) {
    update_bus(async || Arc::new(PostgresBus::open(&place.options()).await.expect("it opens")) as Arc<dyn UpdateBus>).await;
}

async fn updates_pass_from_one_process_to_another(place: Place) {
    let (here, elsewhere) = (place.options(), place.options());
    let open = async |options| PostgresBus::open(options).await.expect("it opens");
    let (sender, receiver, stranger) = (open(&here).await, open(&here).await, open(&elsewhere).await);
    let (mut received, mut strange) =
        (receiver.subscribe().await.expect("subscribed"), stranger.subscribe().await.expect("subscribed"));
    let (update, other) = (Update::Changed(poll(2, |_| {}).id), Update::Changed(poll(2, |_| {}).id));
    sender.publish(vec![update.clone()]).await.expect("published");
    assert_eq!(received.next().await, Some(Notice::Updates([update].into())));
    stranger.publish(vec![other.clone()]).await.expect("published");
    assert_eq!(strange.next().await, Some(Notice::Updates([other].into())), "another schema is another bus");
}

async fn a_kept_log_is_counted_once_whatever_fails(place: Place) {
    let mut runner = TestRunner::default();
    for seed in 0..SCHEDULES {
        let events = events().new_tree(&mut runner).expect("a schedule").current();
        let rates = rates().new_tree(&mut runner).expect("rates").current();
        eprintln!("schedule {seed}: {rates:?} {events:?}");
        let (store, options) = place.store().await;
        let store = StoreUnderTest::forgetful(store);
        run_on_a_kept_log(store, STEP, events, rates, seed.into(), Arc::new(Honest)).await;
        audit(&place, &options).await;
    }
}
