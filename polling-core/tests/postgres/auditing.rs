//! Auditors beside workers that count: they find what is wrong, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use polling_core::audit::{
    AuditStore, Difference, Extent, LogDemand, Record, Report, RetainedLog, Subject, audit_log, audit_rows,
};
use polling_core::checkpoint::{Batch, DeadLetter, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use polling_core::conformance::RandomHistory;
use polling_core::conformance::fixture::{cast, part, poll, retract};
use polling_core::model::{Poll, Vote, codec};
use polling_core::source::SourceError;
use polling_core::store::postgres::{PostgresAudit, PostgresOptions, PostgresStore};
use polling_core::store::{PollStore, StoreError, TallyStore};

use crate::postgres_schema::{Place, Session, audit, open};

crate::tests![
    an_audit_finds_a_sound_store_sound,
    an_audit_names_what_was_changed_by_hand,
    an_audit_of_the_log_finds_what_the_rows_cannot_tell,
    an_audit_of_a_log_that_dropped_records_says_nothing_wrong,
    an_audit_finds_nothing_wrong_while_votes_come_in,
    totals_are_mended_while_a_worker_counts,
    two_who_mend_add_what_is_missing_once,
    an_audit_makes_no_tables_and_changes_nothing,
];

/// How often an auditor looks while votes come in.
const ROUNDS: usize = 40;
/// Votes of a batch.
const VOTES: u32 = 60;

/// A log that keeps its records in memory, from some offset on.
#[derive(Default)]
struct KeptLog(BTreeMap<Partition, (Offset, Vec<Vec<u8>>)>);

impl KeptLog {
    fn of(votes: &[Vote]) -> Self {
        Self([(Partition(0), (Offset::ZERO, votes.iter().map(codec::encode).collect()))].into())
    }

    fn drop_first(&mut self, records: usize) {
        for (first, kept) in self.0.values_mut() {
            *first = first.plus(records);
            kept.drain(..records);
        }
    }
}

#[async_trait]
impl RetainedLog for KeptLog {
    async fn extents(&self) -> Result<BTreeMap<Partition, Extent>, SourceError> {
        let extent = |(&partition, (first, kept)): (&Partition, &(Offset, Vec<Vec<u8>>))| {
            (partition, Extent { first: *first, end: first.plus(kept.len()) })
        };
        Ok(self.0.iter().map(extent).collect())
    }

    fn read(&self, partition: Partition, first: Offset, end: Offset) -> BoxStream<'static, Result<Vec<Record>, SourceError>> {
        let (from, kept) = &self.0[&partition];
        let records = kept.iter().enumerate().map(|(index, bytes)| Record { offset: from.plus(index), bytes: bytes.clone() });
        let wanted = records.filter(|record| (first..end).contains(&record.offset)).collect::<Vec<_>>();
        stream::iter([Ok(wanted)]).boxed()
    }
}

async fn auditor(options: &PostgresOptions) -> PostgresAudit {
    PostgresAudit::open(options).await.expect("the auditor opens the store")
}

async fn rows(store: &PostgresAudit) -> Report {
    let mut report = Report::default();
    audit_rows(store, &[], &mut report).await.expect("the store is read");
    report
}

async fn log(store: &PostgresAudit, log: &KeptLog, demand: LogDemand) -> Report {
    let mut report = Report::default();
    audit_log(store, log, demand, &[], &mut report).await.expect("the log is read");
    report
}

/// What was found, in words.
fn found(report: &Report) -> Vec<String> {
    let word = |difference: &Difference| {
        let of = match difference.subject {
            Subject::Poll(_) => "poll".to_owned(),
            other => other.to_string(),
        };
        let Difference { quantity, kept, found, evidence, .. } = difference;
        format!("{of}: {quantity} {kept}, {found} by {}", evidence.as_str())
    };
    report.differences.iter().map(word).collect()
}

/// A poll with three votes and a retraction, of which the log has one more that is a duplicate of its kind.
async fn some_votes(store: &PostgresStore) -> (Poll, Vec<Vote>) {
    let poll = poll(2, |draft| draft.allow_change = true);
    store.create(&poll).await.expect("created");
    let votes = vec![
        cast(&poll, 1, 1, &[1]),
        cast(&poll, 2, 2, &[2]),
        cast(&poll, 3, 3, &[1]),
        cast(&poll, 3, 4, &[2]),
        retract(&poll, 2, 5),
        cast(&poll, 1, 1, &[1]),
        cast(&poll, 4, 6, &[1]),
    ];
    let records: Vec<_> = votes.iter().map(codec::encode).collect();
    let last = records.last().map(|record| RecordDigest::of(record));
    store.apply(&Batch::single(PartitionBatch { last, ..part(0, 0, &votes) })).await.expect("applied");
    (poll, votes)
}

async fn an_audit_finds_a_sound_store_sound(place: Place) {
    for seed in 200..206 {
        let (store, options) = place.store().await;
        let history = RandomHistory::new(seed);
        for poll in &history.polls {
            store.create(poll).await.expect("created");
        }
        for batch in history.batches() {
            store.apply(&batch).await.expect("applied");
        }
        let auditor = auditor(&options).await;
        let report = rows(&auditor).await;
        assert!(report.is_sound(), "seed {seed}: {report:?}");
        assert_eq!((report.polls, report.partitions, report.records), (4, 1, history.votes.len() as u64));
        let report = log(&auditor, &KeptLog::of(&history.votes), LogDemand::WhenWhole).await;
        assert!(report.is_sound() && report.unchecked.is_empty(), "seed {seed}: {report:?}");
        assert_eq!(report.log.map(|log| (log.records, log.polls)), Some((history.votes.len() as u64, 4)));
    }
}

async fn an_audit_names_what_was_changed_by_hand(place: Place) {
    for (change, expected) in [
        ("UPDATE polls SET tally[2] = tally[2] + 5", &["poll: option 2 6, 1 by votes"][..]),
        (
            "DELETE FROM votes WHERE vote_id = '00000000-0000-0000-0000-000000000004'",
            &["poll: voters 3, 2 by votes", "poll: option 2 1, 0 by votes", "all partitions: standing 4, 3 by votes"],
        ),
        (
            "UPDATE polls SET voters = voters + 1, tally[1] = tally[1] + 1; UPDATE checkpoints SET counted = counted + 1",
            &[
                "poll: voters 4, 3 by votes",
                "poll: option 1 3, 2 by votes",
                "partition 0: records 7, 8 by outcomes",
                "all partitions: standing 5, 4 by votes",
            ],
        ),
        ("UPDATE checkpoints SET late = late + 2", &["partition 0: records 7, 9 by outcomes"]),
        ("UPDATE polls SET tally = tally || 0::bigint", &["poll: options 3, 2 by votes"]),
        (
            "UPDATE votes SET choices = '\\x07' WHERE choices = '\\x02'",
            &["poll: option 2 1, 0 by votes", "poll: option 7 0, 1 by votes"],
        ),
    ] {
        let (store, options) = place.store().await;
        some_votes(&store).await;
        let auditor = auditor(&options).await;
        assert!(rows(&auditor).await.is_sound());
        Session::open(place.url(), &options.schema).await.run(change).await;
        assert_eq!(found(&rows(&auditor).await), expected, "{change}");
    }
}

/// What was changed in two places, so that they agree with each other.
async fn an_audit_of_the_log_finds_what_the_rows_cannot_tell(place: Place) {
    for (change, expected) in [
        (
            "UPDATE checkpoints SET counted = counted - 1, superseded = superseded - 1, late = late + 1",
            &["partition 0: counted 5, 6 by log", "partition 0: superseded 1, 2 by log", "partition 0: late 1, 0 by log"][..],
        ),
        (
            "UPDATE votes SET choices = '\\x01' WHERE choices = '\\x02'; UPDATE polls SET tally = ARRAY[3, 0]",
            &["poll: option 1 3, 2 by log", "poll: option 2 0, 1 by log"],
        ),
        ("UPDATE checkpoints SET last_digest = '\\x00112233445566778899aabbccddeeff'", &["partition 0: records 7, 0 by log"]),
        (
            "UPDATE checkpoints SET next_offset = 9, counted = counted + 2; \
             INSERT INTO past_votes SELECT poll, voter, gen_random_uuid(), 1 FROM votes LIMIT 2",
            &["partition 0: records 9, 7 by log"],
        ),
    ] {
        let (store, options) = place.store().await;
        let (_, votes) = some_votes(&store).await;
        let auditor = auditor(&options).await;
        let whole = KeptLog::of(&votes);
        assert!(log(&auditor, &whole, LogDemand::WhenWhole).await.is_sound());
        Session::open(place.url(), &options.schema).await.run(change).await;
        assert_eq!(found(&rows(&auditor).await), [""; 0], "{change}");
        assert_eq!(found(&log(&auditor, &whole, LogDemand::WhenWhole).await), expected, "{change}");
    }
}

async fn an_audit_of_a_log_that_dropped_records_says_nothing_wrong(place: Place) {
    let (store, options) = place.store().await;
    let (_, votes) = some_votes(&store).await;
    let auditor = auditor(&options).await;
    for dropped in 1..=votes.len() {
        let mut kept = KeptLog::of(&votes);
        kept.drop_first(dropped);
        let report = log(&auditor, &kept, LogDemand::WhenWhole).await;
        assert!(report.is_sound() && report.log.is_none() && report.unchecked[1].contains("was not read"), "{report:?}");
        let report = log(&auditor, &kept, LogDemand::AsFarAsRetained).await;
        assert!(report.is_sound(), "{report:?}");
        let told = report.log.as_ref().map(|log| (log.records, log.polls));
        assert_eq!(told, Some(((votes.len() - dropped) as u64, 0)));
        assert!(report.unchecked[0].contains(&format!("retained from offset {dropped} on")), "{report:?}");
        assert!(report.unchecked[1].contains("1 are older than what the log still has"), "{report:?}");
    }
    // More of one outcome than there are records whose outcome is not known.
    Session::open(place.url(), &options.schema).await.run("UPDATE checkpoints SET late = 90").await;
    let mut kept = KeptLog::of(&votes);
    kept.drop_first(3);
    assert_eq!(found(&log(&auditor, &kept, LogDemand::AsFarAsRetained).await), ["partition 0: late 90, 7 by log"]);
}

/// Batches of a partition, until told to stop; answers the votes.
fn counting(
    store: Arc<PostgresStore>,
    polls: Vec<Poll>,
    partition: u32,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Vec<Vote>> {
    tokio::spawn(async move {
        let mut counted = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let first = u32::try_from(counted.len()).expect("some thousands");
            let vote = |number: u32| {
                let id = first + number;
                let poll = &polls[id as usize % polls.len()];
                // Every third votes again, or takes it back.
                let voter = partition * 1_000_000 + if number.is_multiple_of(3) { number } else { id };
                if number.is_multiple_of(9) { retract(poll, voter, id) } else { cast(poll, voter, id, &[1 + u64::from(id % 3)]) }
            };
            let votes: Vec<Vote> = (0..VOTES).map(vote).collect();
            store.apply(&Batch::single(part(partition, first.into(), &votes))).await.expect("applied");
            counted.extend(votes);
        }
        counted
    })
}

async fn polls(store: &PostgresStore) -> Vec<Poll> {
    let polls: Vec<Poll> = (0..4).map(|number| poll(3, |draft| draft.allow_change = number % 2 == 0)).collect();
    for poll in &polls {
        store.create(poll).await.expect("created");
    }
    polls
}

async fn an_audit_finds_nothing_wrong_while_votes_come_in(place: Place) {
    let (store, options) = place.store().await;
    let polls = polls(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for partition in 0..2 {
        workers.push(counting(open(&options).await, polls.clone(), partition, Arc::clone(&stop)));
    }
    let auditor = auditor(&options).await;
    let mut records = 0;
    for round in 0..ROUNDS {
        let report = rows(&auditor).await;
        assert!(report.is_sound(), "round {round}: {report:?}");
        assert!(report.records >= records);
        records = report.records;
    }
    stop.store(true, Ordering::Relaxed);
    let mut kept = KeptLog::default();
    for (partition, worker) in (0..).zip(workers) {
        let votes = worker.await.expect("no panic");
        kept.0.insert(Partition(partition), (Offset::ZERO, votes.iter().map(codec::encode).collect()));
    }
    assert!(records > 0, "votes came in");
    let report = log(&auditor, &kept, LogDemand::WhenWhole).await;
    assert!(report.is_sound() && report.unchecked.is_empty(), "{report:?}");
}

async fn totals_are_mended_while_a_worker_counts(place: Place) {
    let (store, options) = place.store().await;
    let polls = polls(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let worker = counting(open(&options).await, polls.clone(), 0, Arc::clone(&stop));
    let (auditor, mut person) = (auditor(&options).await, Session::open(place.url(), &options.schema).await);
    for _ in 0..ROUNDS / 2 {
        // One after the other: whoever locks several at once has to keep to their order.
        for number in 1..=polls.len() {
            let change = "UPDATE polls SET voters = voters + 7, tally[3] = tally[3] + 4, tally[1] = tally[1] + 1";
            person.run(&format!("{change} WHERE number = {number}")).await;
        }
        assert_eq!(rows(&auditor).await.differences_total, 3 * polls.len() as u64);
        for poll in &polls {
            let version = store.tallies(&[poll.id]).await.expect("read")[0].version;
            let mended = auditor.mend(poll.id).await.expect("mended").expect("there is such a poll");
            assert_eq!(mended.before.kept.voters, mended.before.found.voters + 7);
            let tally = mended.tally.expect("it was wrong");
            assert!(tally.version > version && tally.poll == poll.id, "{tally:?}");
        }
        let report = rows(&auditor).await;
        assert!(report.is_sound(), "{report:?}");
    }
    stop.store(true, Ordering::Relaxed);
    worker.await.expect("no panic");
    let version = store.tallies(&[polls[0].id]).await.expect("read")[0].version;
    assert_eq!(auditor.mend(polls[0].id).await.expect("looked at").expect("there is such a poll").tally, None);
    assert_eq!(store.tallies(&[polls[0].id]).await.expect("read")[0].version, version, "nothing was changed");
    assert_eq!(auditor.mend(poll(2, |_| {}).id).await.expect("looked for"), None);
    audit(&place, &options).await;
}

async fn two_who_mend_add_what_is_missing_once(place: Place) {
    let (store, options) = place.store().await;
    let (poll, _) = some_votes(&store).await;
    let (one, other) = (auditor(&options).await, auditor(&options).await);
    let mut person = Session::open(place.url(), &options.schema).await;
    for _ in 0..ROUNDS {
        person.run("UPDATE polls SET voters = voters - 2").await;
        let (first, second) = tokio::join!(one.mend(poll.id), other.mend(poll.id));
        let mended = [first, second].map(|mended| mended.expect("mended").expect("there is such a poll").tally);
        assert_eq!(mended.iter().flatten().count(), 1, "{mended:?}");
        assert!(rows(&one).await.is_sound());
    }
}

async fn an_audit_makes_no_tables_and_changes_nothing(place: Place) {
    let options = place.options();
    assert!(PostgresAudit::open(&options).await.is_err(), "there are no tables");
    let mut person = Session::open(place.url(), "public").await;
    let exists = format!("SELECT 1 / (to_regnamespace('{}') IS NULL)::integer", options.schema);
    person.run(&exists).await;
    let store = open(&options).await;
    let (poll, votes) = some_votes(&store).await;
    let letter = Entry::DeadLetter(DeadLetter { bytes: vec![7], reason: "rubbish".to_owned() });
    let last = Some(RecordDigest::of(&[7]));
    let part = PartitionBatch { partition: Partition(0), first: Offset::ZERO.plus(votes.len()), entries: vec![letter], last };
    store.apply(&Batch::single(part)).await.expect("applied");
    assert!(store.archive(poll.id).await.expect("archived"));
    let auditor = auditor(&options).await;
    let mut kept = KeptLog::of(&votes);
    kept.0.values_mut().for_each(|(_, records)| records.push(vec![7]));
    // Archived polls keep their totals, which the rows know and the log does not.
    let report = rows(&auditor).await;
    assert_eq!((report.is_sound(), report.polls, report.votes), (true, 1, 3));
    let report = log(&auditor, &kept, LogDemand::WhenWhole).await;
    assert!(report.is_sound() && report.unchecked[0].contains("1 are archived"), "{report:?}");
    auditor.shut_down().await;
    assert!(matches!(auditor.recount(poll.id).await, Err(StoreError::Unavailable(_))));
    let mut report = Report::default();
    assert!(audit_rows(&auditor, &[], &mut report).await.is_err());
}
