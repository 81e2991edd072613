//! Several stores on one database, as several workers have them.

use std::sync::Arc;
use std::time::Duration;

use polling_core::checkpoint::{Batch, Checkpoint, DeadLetter, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use polling_core::clock::Timestamp;
use polling_core::conformance::fixture::{NOW, at, batch, cast, part, poll, retract};
use polling_core::model::{Outcome, Poll, PollState, Vote};
use polling_core::store::postgres::PostgresStore;
use polling_core::store::{PollStore, StoreError, TallyStore};
use tokio::sync::Barrier;

use crate::postgres_schema::{Place, Session, audit, open};

crate::tests![
    workers_on_different_partitions_add_to_the_same_polls,
    of_two_workers_on_one_partition_one_is_fenced,
    a_program_that_knows_no_digests_leaves_none_that_is_wrong,
    a_batch_of_rubbish_is_set_aside_in_one_statement,
    a_partition_can_be_counted_from_its_beginning_again,
    a_partition_that_comes_back_is_not_taken_for_known,
    a_voter_who_moves_to_another_partition_is_counted_once,
    a_poll_that_closes_meanwhile_has_no_late_vote_counted,
    an_archived_poll_takes_no_vote_of_a_worker_that_knew_it,
    two_servers_announce_a_change_once,
    many_new_voters_are_copied_and_their_repeats_found,
];

/// Batches that each worker applies.
const BATCHES: u32 = 30;
/// Votes of each.
const VOTES: u32 = 120;

async fn create(store: &PostgresStore, poll: &Poll) {
    store.create(poll).await.expect("created");
}

async fn voters(store: &PostgresStore, poll: &Poll) -> u64 {
    store.read(poll.id).await.expect("read").expect("it exists").tally.totals.voters
}

fn whole(partition: u32, first: u32, votes: &[Vote]) -> Batch {
    Batch::single(part(partition, first.into(), votes))
}

async fn workers_on_different_partitions_add_to_the_same_polls(place: Place) {
    let (store, options) = place.store().await;
    let polls: Vec<Poll> = (0..7).map(|number| poll(4, |draft| draft.allow_change = number % 2 == 0)).collect();
    for poll in &polls {
        create(&store, poll).await;
    }
    let polls = Arc::new(polls);
    let workers: Vec<_> = (0..4_u32)
        .map(|partition| {
            let (options, polls) = (options.clone(), Arc::clone(&polls));
            tokio::spawn(async move {
                let store = open(&options).await;
                let mut greatest = std::collections::BTreeMap::new();
                for number in 0..BATCHES {
                    let votes: Vec<Vote> = (0..VOTES)
                        .map(|index| {
                            let id = number * VOTES + index;
                            // Every third votes again, or takes it back.
                            let voter = partition * 1_000_000 + if index % 3 == 0 { index } else { id };
                            let poll = &polls[(id as usize * 5 + partition as usize) % polls.len()];
                            if index % 9 == 0 {
                                retract(poll, voter, id)
                            } else {
                                cast(poll, voter, id, &[1 + u64::from(id % 4)])
                            }
                        })
                        .collect();
                    let applied = store.apply(&whole(partition, number * VOTES, &votes)).await.expect("applied");
                    for tally in applied.tallies {
                        let before = greatest.insert(tally.poll, tally.version);
                        assert!(before.is_none_or(|before| before < tally.version), "a version went back");
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    audit(&place, &options).await;
    let expected: Checkpoint =
        (0..4).map(|partition| (Partition(partition), Offset::ZERO.plus((BATCHES * VOTES) as usize))).collect();
    assert_eq!(store.checkpoint().await.expect("read"), expected);
}

async fn a_program_that_knows_no_digests_leaves_none_that_is_wrong(place: Place) {
    let (store, options) = place.store().await;
    let last = Some(RecordDigest::of(b"a record"));
    let letter = |number| Entry::DeadLetter(DeadLetter { bytes: vec![number], reason: "rubbish".to_owned() });
    let part = PartitionBatch { partition: Partition(0), first: Offset::ZERO, entries: vec![letter(0)], last };
    store.apply(&Batch::single(part)).await.expect("applied");
    assert_eq!(store.checkpoint().await.expect("read").last(Partition(0)), last);
    let mut older = Session::open(place.url(), &options.schema).await;
    older.run("UPDATE checkpoints SET next_offset = next_offset + 1, invalid = invalid + 1").await;
    assert_eq!(store.checkpoint().await.expect("read").last(Partition(0)), None);
}

/// However far the server is: a statement for each record would take longer than a transaction may.
async fn a_batch_of_rubbish_is_set_aside_in_one_statement(place: Place) {
    let (store, options) = place.store().await;
    let letter =
        |number: usize| Entry::DeadLetter(DeadLetter { bytes: vec![7; number % 99], reason: "not\0readable".to_owned() });
    let mut entries: Vec<Entry> = (0..9_999).map(letter).collect();
    entries.push(Entry::DeadLetter(DeadLetter { bytes: vec![7; 1 << 20], reason: "long ".repeat(1000) }));
    let part = PartitionBatch { partition: Partition(3), first: Offset::ZERO, entries, last: None };
    let mut auditor = Session::open(place.url(), &options.schema).await;
    auditor.run("CREATE TABLE statements (number bigint)").await;
    auditor
        .run(
            "CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END'",
        )
        .await;
    auditor.run("CREATE TRIGGER noted AFTER INSERT ON dead_letters FOR EACH STATEMENT EXECUTE FUNCTION note_statement()").await;
    store.apply(&Batch::single(part)).await.expect("applied");
    assert_eq!(auditor.ask::<i64>("SELECT count(*) FROM statements").await, [1]);
    assert_eq!(auditor.ask::<i64>("SELECT count(*) FROM dead_letters WHERE reason = 'notreadable'").await, [9_999]);
    const LONGEST: &str = "SELECT max(length(record)::bigint + length(reason) + record_bytes) FROM dead_letters";
    assert_eq!(auditor.ask::<i64>(LONGEST).await, [64 * 1024 + 1000 + (1 << 20)]);
    audit(&place, &options).await;
}

/// As README.md says for a topic that was made anew on purpose.
async fn a_partition_can_be_counted_from_its_beginning_again(place: Place) {
    let (store, options) = place.store().await;
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let mut person = Session::open(place.url(), &options.schema).await;
    for (voter, rubbish) in [(1, b"old"), (2, b"new")] {
        let letter = Entry::DeadLetter(DeadLetter { bytes: rubbish.to_vec(), reason: "rubbish".to_owned() });
        let entries = vec![letter, Entry::Vote(cast(&poll, voter, voter, &[1]))];
        let last = Some(RecordDigest::of(rubbish));
        let part = PartitionBatch { partition: Partition(0), first: Offset::ZERO, entries, last };
        store.apply(&Batch::single(part)).await.expect("applied");
        assert_eq!(person.ask::<Vec<u8>>("SELECT record FROM dead_letters").await, [rubbish.to_vec()]);
        person.run("DELETE FROM checkpoints WHERE log_partition = 0").await;
    }
    assert_eq!(voters(&store, &poll).await, 2);
}

async fn of_two_workers_on_one_partition_one_is_fenced(place: Place) {
    let (first, options) = place.store().await;
    let second = open(&options).await;
    let poll = poll(2, |_| {});
    create(&first, &poll).await;
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(2));
        let race = |store: &Arc<PostgresStore>, voter| {
            let (store, barrier, batch) =
                (Arc::clone(store), Arc::clone(&barrier), whole(0, round, &[cast(&poll, voter, voter, &[1])]));
            tokio::spawn(async move {
                barrier.wait().await;
                store.apply(&batch).await
            })
        };
        let (one, other) = (race(&first, 2 * round), race(&second, 2 * round + 1));
        let answers = [one.await.expect("no panic"), other.await.expect("no panic")];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert!(answers.iter().any(|answer| matches!(answer, Err(StoreError::Fenced { .. }))), "{answers:?}");
        assert_eq!(voters(&first, &poll).await, u64::from(round) + 1);
    }
    audit(&place, &options).await;
}

async fn a_partition_that_comes_back_is_not_taken_for_known(place: Place) {
    let (first, options) = place.store().await;
    let second = open(&options).await;
    let poll = poll(2, |_| {});
    create(&first, &poll).await;
    first.apply(&whole(0, 0, &[cast(&poll, 1, 1, &[1])])).await.expect("applied");
    second.apply(&whole(0, 1, &[cast(&poll, 2, 2, &[1])])).await.expect("applied");
    let applied = first.apply(&whole(0, 2, &[cast(&poll, 2, 3, &[2]), cast(&poll, 3, 4, &[2])])).await.expect("applied");
    assert_eq!(applied.outcomes, [Outcome::Duplicate, Outcome::Counted]);
    audit(&place, &options).await;
}

/// The number of partitions was changed: what a worker remembers of its partitions is wrong, and the unique key finds it out.
async fn a_voter_who_moves_to_another_partition_is_counted_once(place: Place) {
    let (store, options) = place.store().await;
    let fixed = poll(2, |_| {});
    let changing = poll(2, |draft| draft.allow_change = true);
    let crowd =
        |poll: &Poll, id: u32, option| -> Vec<Vote> { (0..100).map(|voter| cast(poll, voter, id + voter, &[option])).collect() };
    for poll in [&fixed, &changing] {
        create(&store, poll).await;
    }
    // So that both partitions are known from before the first vote.
    for partition in 0..2 {
        store
            .apply(&whole(partition, 0, &[cast(&fixed, 7000 + partition, 1, &[1]), cast(&changing, 7000 + partition, 1, &[1])]))
            .await
            .expect("applied");
    }
    for poll in [&fixed, &changing] {
        let first = if poll.allow_change { 102 } else { 2 };
        store.apply(&whole(0, first, &crowd(poll, 1000, 1))).await.expect("applied");
        let moved = store.apply(&whole(1, first, &crowd(poll, 5000, 2))).await.expect("applied");
        let expected = if poll.allow_change { Outcome::Counted } else { Outcome::Duplicate };
        assert_eq!(moved.outcomes, [expected; 100]);
        assert_eq!(voters(&store, poll).await, 102);
    }
    let mut auditor = Session::open(place.url(), &options.schema).await;
    assert_eq!(auditor.ask::<i64>("SELECT count(*) FROM votes").await, [204]);
}

async fn a_poll_that_closes_meanwhile_has_no_late_vote_counted(place: Place) {
    let (worker, options) = place.store().await;
    let server = open(&options).await;
    for round in 0..30 {
        let poll = poll(2, |_| {});
        create(&server, &poll).await;
        let first = round * 40;
        let accepted = |seconds: u32| Vote { accepted_at: at(seconds.into()), ..cast(&poll, seconds, seconds, &[1]) };
        // The worker knows the poll as an open one.
        worker.apply(&whole(0, first, &(0..20).map(accepted).collect::<Vec<_>>())).await.expect("applied");
        let barrier = Arc::new(Barrier::new(2));
        let counting = {
            let (worker, barrier) = (Arc::clone(&worker), Arc::clone(&barrier));
            let batch = whole(0, first + 20, &(20..40).map(accepted).collect::<Vec<_>>());
            tokio::spawn(async move {
                barrier.wait().await;
                worker.apply(&batch).await
            })
        };
        barrier.wait().await;
        let closed = server.close(poll.id, at(25)).await.expect("closed").expect("it exists");
        let outcomes = counting.await.expect("no panic").expect("applied").outcomes;
        let closes_at = closed.poll.closes_at.expect("it is closed");
        let expected = |seconds: u32| if at(seconds.into()) < closes_at { Outcome::Counted } else { Outcome::Late };
        assert_eq!(outcomes, (20..40).map(expected).collect::<Vec<_>>(), "it closes at {closes_at:?}");
        let counted = outcomes.iter().filter(|outcome| **outcome == Outcome::Counted).count() as u64;
        assert_eq!(voters(&server, &poll).await, 20 + counted);
        assert!(closes_at == at(25) || closes_at == at(39).saturating_add(Duration::from_micros(1)));
    }
    audit(&place, &options).await;
}

async fn an_archived_poll_takes_no_vote_of_a_worker_that_knew_it(place: Place) {
    let (worker, options) = place.store().await;
    let server = open(&options).await;
    let poll = poll(2, |_| {});
    create(&server, &poll).await;
    worker.apply(&whole(0, 0, &[cast(&poll, 1, 1, &[1])])).await.expect("applied");
    assert!(server.archive(poll.id).await.expect("archived"));
    let applied = worker.apply(&whole(0, 1, &[cast(&poll, 2, 2, &[1])])).await.expect("applied");
    assert_eq!((applied.outcomes, applied.tallies), (vec![Outcome::Invalid], vec![]));
    audit(&place, &options).await;
}

async fn two_servers_announce_a_change_once(place: Place) {
    let (first, options) = place.store().await;
    let second = open(&options).await;
    let polls: Vec<Poll> = (0..50).map(|_| poll(2, |draft| draft.closes_at = Some(at(5)))).collect();
    for poll in &polls {
        create(&first, poll).await;
    }
    let now: Timestamp = at(6);
    let (one, other) = tokio::join!(first.transition(now), second.transition(now));
    let mut announced = [one.expect("made").changed, other.expect("made").changed].concat();
    announced.sort_unstable();
    assert_eq!(announced, polls.iter().map(|poll| poll.id).collect::<Vec<_>>());
    let behind = first.read(polls[0].id).await.expect("read").expect("it exists").poll;
    assert_eq!(behind.state_shown(NOW), PollState::Closed, "and it is shown by a clock that is behind, too");
    let closed = poll(2, |_| {});
    create(&first, &closed).await;
    first.close(closed.id, at(9)).await.expect("closed");
    let behind = second.read(closed.id).await.expect("read").expect("it exists").poll;
    assert_eq!(behind.state_shown(NOW), PollState::Closed);
}

async fn many_new_voters_are_copied_and_their_repeats_found(place: Place) {
    let (store, options) = place.store().await;
    let changing = poll(100, |draft| {
        draft.allow_change = true;
        draft.max_choices = Some(100);
    });
    create(&store, &changing).await;
    let all: Vec<u64> = (1..=100).collect();
    let crowd =
        |id: u32, options: &[u64]| -> Vec<Vote> { (0..1000).map(|voter| cast(&changing, voter, id + voter, options)).collect() };
    let mut votes = crowd(0, &all);
    assert_eq!(store.apply(&batch(0, &votes)).await.expect("applied").outcomes, [Outcome::Counted; 1000]);
    votes = crowd(0, &all);
    assert_eq!(store.apply(&batch(1000, &votes)).await.expect("applied").tallies, []);
    votes = crowd(5000, &[7]);
    let applied = store.apply(&batch(2000, &votes)).await.expect("applied");
    let counted = &applied.tallies[0].totals;
    assert_eq!((counted.voters, counted.votes[6], counted.votes.iter().sum::<u64>()), (1000, 1000, 1000));
    // A new session knows nothing and comes to the same.
    let anew = open(&options).await;
    assert_eq!(anew.apply(&batch(3000, &crowd(0, &all))).await.expect("applied").outcomes, [Outcome::Superseded; 1000]);
    assert!(store.read(changing.id).await.expect("read").is_some_and(|snapshot| snapshot.poll.state(NOW) == changing.state(NOW)));
    audit(&place, &options).await;
}
