//! What the `SQLite` store promises beyond its traits: the file, its faults, and what an auditor reads in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::poll as poll_once;
use polling_core::checkpoint::{Batch, DeadLetter, Entry, Offset, Partition, PartitionBatch};
use polling_core::conformance::fixture::{NOW, at, batch, cast, part, poll, retract};
use polling_core::conformance::{RandomHistory, StoreUnderTest, assert_equals_the_oracle, poll_store, tally_store};
use polling_core::model::{Outcome, PollId, PollState, Vote};
use polling_core::store::sqlite::{SqliteFault, SqliteOpenError, SqliteOptions, SqliteStore};
use polling_core::store::{PollFilter, PollStore, StoreError, TallyStore, Transitions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use crate::conformance::wrapped;

/// A folder that is removed in the end, and the name of a store in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("polls.db");
    (folder, path)
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).await.expect("the store is opened")
}

async fn refusal(path: &Path) -> SqliteOpenError {
    SqliteStore::open(path, SqliteOptions::default()).await.expect_err("the file is refused")
}

/// A store in the file, which opens it again with the same. The folder stays until the last of them is gone.
fn under_test(store: SqliteStore, place: Arc<(TempDir, PathBuf)>) -> StoreUnderTest {
    let store = Arc::new(store);
    let (polls, tallies) = (Arc::clone(&store) as Arc<dyn PollStore>, store as Arc<dyn TallyStore>);
    let reopen = Box::new(move || -> std::pin::Pin<Box<dyn Future<Output = StoreUnderTest> + Send>> {
        Box::pin(async move { under_test(open(&place.1).await, place) })
    });
    StoreUnderTest { polls, tallies, reopen: Some(reopen) }
}

async fn fresh() -> StoreUnderTest {
    let place = place();
    under_test(open(&place.1).await, Arc::new(place))
}

/// Runs plain SQL beside the store, as an auditor would.
async fn ask<T>(path: &Path, statement: &'static str) -> Vec<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("an auditor connects");
    let answer = sqlx::query_scalar(statement).fetch_all(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("the auditor leaves");
    answer
}

/// Many voters: more than fits into the pages that a new file has.
fn crowd(poll: &polling_core::model::Poll, first: u32) -> Vec<Vote> {
    (first..first + 2000).map(|number| cast(poll, number, number, &[1 + u64::from(number % 2)])).collect()
}

async fn voters(store: &SqliteStore, poll: PollId) -> u64 {
    store.read(poll).await.expect("it is read").expect("it exists").tally.totals.voters
}

#[tokio::test]
async fn the_sqlite_store_is_a_poll_store() {
    poll_store(fresh).await;
    poll_store(async || wrapped(fresh().await)).await;
}

#[tokio::test]
async fn the_sqlite_store_is_a_tally_store() {
    tally_store(fresh).await;
    tally_store(async || wrapped(fresh().await)).await;
}

#[tokio::test]
async fn plain_sql_finds_the_tallies_to_be_the_votes() {
    const WRONG_TALLIES: &str = "SELECT count(*) FROM tallies WHERE votes <> (SELECT count(*) FROM votes \
        WHERE votes.poll = tallies.poll AND instr(votes.choices, unhex(printf('%02x', tallies.option))))";
    const WRONG_VOTERS: &str = "SELECT count(*) FROM polls WHERE voters <> \
        (SELECT count(*) FROM votes WHERE votes.poll = polls.number AND votes.choices IS NOT NULL)";
    const WRONG_COUNTS: &str =
        "SELECT count(*) FROM checkpoints WHERE next_offset <> counted + duplicate + late + invalid + repeated";
    const STANDING: &str = "SELECT sum(counted - superseded) FROM checkpoints";
    for seed in 100..110 {
        let (folder, path) = place();
        let store = under_test(open(&path).await, Arc::new((folder, path.clone())));
        let history = RandomHistory::new(seed);
        for poll in &history.polls {
            store.polls.create(poll).await.expect("it is created");
        }
        for batch in history.batches() {
            store.tallies.apply(&batch).await.expect("it is applied");
        }
        assert_equals_the_oracle(&store, &history.votes).await;
        for statement in [WRONG_TALLIES, WRONG_VOTERS, WRONG_COUNTS] {
            assert_eq!(ask::<i64>(&path, statement).await, [0], "seed {seed}: {statement}");
        }
        // Votes that stand, and retractions that took effect, whether they stand or were followed by a vote.
        let kept = "SELECT (SELECT count(*) FROM votes) + (SELECT count(*) FROM past_votes WHERE outcome = 1)";
        assert_eq!(ask::<i64>(&path, STANDING).await, ask::<i64>(&path, kept).await, "seed {seed}");
    }
}

#[tokio::test]
async fn a_closed_and_reopened_store_has_everything() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let changing = poll(3, |draft| draft.allow_change = true);
    store.create(&changing).await.expect("it is created");
    let history =
        [cast(&changing, 1, 1, &[1]), cast(&changing, 1, 2, &[2]), retract(&changing, 2, 3), cast(&changing, 3, 4, &[3])];
    store.apply(&batch(0, &history)).await.expect("it is applied");
    let letter = DeadLetter { bytes: vec![0xfe; 100_000], reason: "x".repeat(5000) };
    let part =
        PartitionBatch { partition: Partition(7), first: Offset::ZERO, entries: vec![Entry::DeadLetter(letter)], last: None };
    store.apply(&Batch::single(part)).await.expect("it is applied");
    let (before, checkpoint) =
        (store.read(changing.id).await.expect("it is read"), store.checkpoint().await.expect("it is read"));
    store.shut_down().await;
    assert!(matches!(store.read(changing.id).await, Err(StoreError::Unavailable(_))), "it is closed");
    assert!(matches!(store.apply(&Batch::default()).await, Err(StoreError::Unavailable(_))), "it is closed");
    let store = open(&path).await;
    assert_eq!(store.read(changing.id).await.expect("it is read"), before);
    assert_eq!(store.checkpoint().await.expect("it is read"), checkpoint);
    let outcomes = store.apply(&batch(4, &history)).await.expect("it is applied").outcomes;
    assert_eq!(outcomes, [Outcome::Superseded, Outcome::Counted, Outcome::Invalid, Outcome::Counted]);
    let kept = "SELECT length(record) || ' of ' || record_bytes || ', ' || length(reason) FROM dead_letters";
    assert_eq!(ask::<String>(&path, kept).await, ["65536 of 100000, 1000"]);
}

#[tokio::test]
async fn a_dropped_apply_is_whole_or_nothing_and_the_store_goes_on() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("it is created");
    let mut applied = 0;
    for round in 0..20_u32 {
        let votes = crowd(&poll, round * 2000);
        let batch = batch(applied, &votes);
        let mut dropped = Box::pin(store.apply(&batch));
        for _ in 0..round {
            if poll_once!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        // The writer stands in line behind whatever the dropped future left under way.
        store.apply(&Batch::default()).await.expect("the store can commit");
        match store.apply(&batch).await {
            Ok(_) | Err(StoreError::Fenced { .. }) => applied += votes.len() as u64,
            Err(error) => panic!("the store does not go on: {error:?}"),
        }
        assert_eq!(voters(&store, poll.id).await, applied);
    }
}

/// A store that meets a fault and is healed: nothing of the batch is there, reading goes on, and the same batch is applied
/// once the cause is gone, without anybody opening anything.
async fn heals(fault: SqliteFault) {
    let (_folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("it is created");
    let batch = batch(0, &crowd(&poll, 0));
    store.inject(Some(fault)).await;
    for _ in 0..3 {
        let answer = store.apply(&batch).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{fault:?}: {answer:?}");
    }
    assert_eq!(voters(&store, poll.id).await, 0);
    assert_eq!(store.checkpoint().await.expect("it is read").iter().count(), 0);
    store.inject(None).await;
    assert_eq!(store.apply(&batch).await.expect("it is applied").outcomes.len(), 2000);
    assert_eq!(voters(&store, poll.id).await, 2000);
}

#[tokio::test]
async fn a_full_file_is_unavailable_until_there_is_room() {
    heals(SqliteFault::Full).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_unavailable_until_it_can() {
    heals(SqliteFault::ReadOnly).await;
}

#[tokio::test]
async fn an_empty_batch_and_a_due_transition_commit_and_an_idle_transition_does_not() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |draft| draft.closes_at = Some(at(10)));
    store.create(&poll).await.expect("it is created");
    store.apply(&Batch::default()).await.expect("the store can commit");
    store.inject(Some(SqliteFault::ReadOnly)).await;
    assert!(matches!(store.apply(&Batch::default()).await, Err(StoreError::Unavailable(_))));
    let idle = store.transition(at(9)).await.expect("nothing is due, so nothing is written");
    assert_eq!(idle, Transitions { changed: vec![], next: Some(at(10)) });
    assert!(matches!(store.transition(at(10)).await, Err(StoreError::Unavailable(_))));
    store.inject(None).await;
    let due = store.transition(at(10)).await.expect("it is announced");
    assert_eq!(due, Transitions { changed: vec![poll.id], next: None });
}

/// A close that moved behind a vote was left to come when its time comes.
#[tokio::test]
async fn what_an_earlier_version_left_to_come_comes_or_is_closed_by_the_owner() {
    let (_folder, path) = place();
    let store = open(&path).await;
    for (offset, closes_again) in [(0, false), (1, true)] {
        let poll = poll(2, |_| {});
        store.create(&poll).await.expect("it is created");
        let ahead = Vote { accepted_at: at(7), ..cast(&poll, 1, 1, &[1]) };
        store.apply(&batch(offset, &[ahead])).await.expect("it is applied");
        let closed = store.close(poll.id, at(3)).await.expect("it is closed").expect("it exists");
        let leave =
            "UPDATE polls SET transition_at = closes_at WHERE number = (SELECT max(number) FROM polls) RETURNING closes_at";
        assert_eq!(ask::<i64>(&path, leave).await.len(), 1);
        let left = store.read(poll.id).await.expect("it is read").expect("it exists");
        assert_eq!(left.poll.state_shown(at(3)), PollState::Open);
        if closes_again {
            store.close(poll.id, at(4)).await.expect("it is closed");
        } else {
            assert_eq!(store.transition(at(3)).await.expect("it answers").next, closed.poll.closes_at);
            assert_eq!(store.transition(at(8)).await.expect("it answers").changed, [poll.id]);
        }
        let now = store.read(poll.id).await.expect("it is read").expect("it exists");
        assert_eq!(now.poll, closed.poll, "closed by any clock");
        assert_eq!(now.tally.version.number, closed.tally.version.number + 1);
    }
}

#[tokio::test]
async fn a_question_that_an_earlier_version_folded_is_found() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |draft| draft.question = "Ποια ΟΔΟΣ;".to_owned());
    store.create(&poll).await.expect("it is created");
    let before = "UPDATE poll_texts SET question_folded = 'ποια οδος;' RETURNING question_folded";
    assert_eq!(ask::<String>(&path, before).await, ["Ποια ΟΔΟΣ;".to_lowercase()]);
    for part in ["ΟΔΟΣ", "οδος", "οδοσ", "Σ;", "ποια"] {
        let filter = PollFilter { text: Some(part.to_owned()), ..PollFilter::default() };
        assert_eq!(store.rank(&filter, 10, NOW).await.expect("polls are ranked"), [poll.id], "{part}");
    }
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    let (folder, path) = place();
    let store = open(&path).await;
    assert!(matches!(refusal(&path).await, SqliteOpenError::InUse { .. }));
    let detour = folder.path().join(".").join("polls.db");
    assert!(matches!(refusal(&detour).await, SqliteOpenError::InUse { .. }), "by another name");
    store.shut_down().await;
    let second = open(&path).await;
    assert!(matches!(refusal(&path).await, SqliteOpenError::InUse { .. }));
    drop(second);
    open(&path).await.shut_down().await;
}

#[tokio::test]
async fn the_header_says_what_the_file_is() {
    let (_folder, path) = place();
    fs::write(&path, []).expect("an empty file");
    let store = open(&path).await;
    // While the store is open and before anything was written back: what an older program would see.
    let header = fs::read(&path).expect("it is read");
    assert_eq!(&header[68..72], b"POLL");
    assert_eq!(header[60..64], 5_u32.to_be_bytes());
    store.shut_down().await;
}

/// Holds that the file is refused and left as it is, to the byte; hands out why.
async fn refused_and_untouched(path: &Path, what: &str) -> SqliteOpenError {
    let before = fs::read(path).expect("it is read");
    let error = refusal(path).await;
    assert!(fs::read(path).expect("it is read") == before, "{what}: the file was changed");
    error
}

/// A closed store with some votes in it, as bytes.
async fn store_bytes(path: &Path) -> Vec<u8> {
    let store = open(path).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("it is created");
    store.apply(&batch(0, &crowd(&poll, 0))).await.expect("it is applied");
    store.shut_down().await;
    fs::read(path).expect("it is read")
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_refused_and_untouched() {
    let (_folder, path) = place();
    let mut bytes = store_bytes(&path).await;
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&path, &bytes).expect("it is written");
    let error = refused_and_untouched(&path, "newer").await;
    assert!(matches!(error, SqliteOpenError::NewerVersion { found: 99, known: 5, .. }), "{error:?}");
}

#[tokio::test]
async fn a_migration_that_is_not_known_is_a_newer_program_too() {
    let (_folder, path) = place();
    store_bytes(&path).await;
    ask::<i64>(
        &path,
        "INSERT INTO _sqlx_migrations SELECT 77, 'later', installed_on, success, checksum, 0 \
        FROM _sqlx_migrations WHERE version = 1 RETURNING version",
    )
    .await;
    let error = refused_and_untouched(&path, "a later migration").await;
    assert!(matches!(error, SqliteOpenError::NewerVersion { found: 77, known: 5, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_another_application_is_refused_and_untouched() {
    let (folder, path) = place();
    let mut bytes = store_bytes(&path).await;
    bytes[68..72].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(&path, &bytes).expect("it is written");
    let error = refused_and_untouched(&path, "another id").await;
    assert!(matches!(error, SqliteOpenError::WrongApplication { found: 7, .. }), "{error:?}");
    let nameless = folder.path().join("nameless.db");
    let mut connection =
        SqliteConnectOptions::new().filename(&nameless).create_if_missing(true).connect().await.expect("a database");
    sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&mut connection).await.expect("a table");
    connection.close().await.expect("it is closed");
    let error = refused_and_untouched(&nameless, "no id").await;
    assert!(matches!(error, SqliteOpenError::WrongApplication { found: 0, .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_is_refused_and_untouched() {
    let (_folder, path) = place();
    for (what, bytes) in [
        ("text", b"dear diary".repeat(1000)),
        ("one byte", vec![b'S']),
        ("zeros", vec![0; 8192]),
        ("only the magic", b"SQLite format 3\0".to_vec()),
    ] {
        fs::write(&path, &bytes).expect("it is written");
        let error = refused_and_untouched(&path, what).await;
        assert!(matches!(error, SqliteOpenError::NotADatabase { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn a_damaged_or_truncated_store_is_refused_and_untouched() {
    let (_folder, path) = place();
    let sound = store_bytes(&path).await;
    for length in [100, 512, 4096, 5000, sound.len() / 2, sound.len() - 4096, sound.len() - 1] {
        fs::write(&path, &sound[..length]).expect("it is written");
        let error = refused_and_untouched(&path, "cut off").await;
        let refused = matches!(error, SqliteOpenError::Damaged { .. } | SqliteOpenError::NotADatabase { .. });
        assert!(refused, "cut at {length}: {error:?}");
    }
    let mut scribbled = sound.clone();
    let middle = sound.len() / 2 / 4096 * 4096;
    scribbled[middle..middle + 4096].fill(0xaa);
    fs::write(&path, &scribbled).expect("it is written");
    let error = refused_and_untouched(&path, "scribbled on").await;
    assert!(matches!(error, SqliteOpenError::Damaged { .. }), "{error:?}");
    fs::write(&path, &sound).expect("it is written");
    open(&path).await.shut_down().await;
}

#[tokio::test]
async fn what_was_committed_before_a_crash_is_there_after_it() {
    let (folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("it is created");
    store.apply(&batch(0, &crowd(&poll, 0))).await.expect("it is applied");
    // What a crash leaves: the file and its log as they are now, and no lock.
    let after = folder.path().join("after.db");
    fs::copy(&path, &after).expect("a copy");
    fs::copy(folder.path().join("polls.db-wal"), folder.path().join("after.db-wal")).expect("a copy");
    let recovered = open(&after).await;
    assert_eq!(voters(&recovered, poll.id).await, 2000);
    let answer = recovered.apply(&batch(0, &crowd(&poll, 0))).await;
    assert!(matches!(answer, Err(StoreError::Fenced { found, .. }) if found.get() == 2000), "{answer:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error_of_the_world() {
    let (folder, _) = place();
    let error = refusal(&folder.path().join("absent").join("polls.db")).await;
    assert!(matches!(error, SqliteOpenError::Io { .. }), "{error:?}");
    let error = refusal(folder.path()).await;
    assert!(matches!(error, SqliteOpenError::Io { .. }), "a folder: {error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_place_of_the_file_is_refused_and_not_waited_for() {
    let (_folder, path) = place();
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    assert!(matches!(refusal(&path).await, SqliteOpenError::NotADatabase { .. }));
}

#[tokio::test]
async fn a_batch_over_several_partitions_counts_each() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let poll = poll(2, |draft| draft.allow_change = true);
    store.create(&poll).await.expect("it is created");
    let late = Vote { accepted_at: NOW, ..cast(&poll, 2, 5, &[1]) };
    let parts = vec![
        part(3, 0, &[cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2]), cast(&poll, 1, 1, &[1])]),
        part(9, 0, &[late, cast(&poll, 3, 6, &[1, 2])]),
    ];
    let applied = store.apply(&Batch::new(parts).expect("distinct")).await.expect("it is applied");
    use Outcome::{Counted, Invalid, Superseded};
    assert_eq!(applied.outcomes, [Superseded, Counted, Superseded, Counted, Invalid]);
    let counts = "SELECT printf('%d: %d %d %d %d %d %d', log_partition, counted, superseded, duplicate, late, invalid, repeated) \
        FROM checkpoints ORDER BY log_partition";
    assert_eq!(ask::<String>(&path, counts).await, ["3: 2 1 0 0 0 1", "9: 1 0 0 0 1 0"]);
}

/// A file system of 4 MiB that is unmounted in the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Self(folder);
        disk.mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"]);
        disk
    }

    fn mount(&self, arguments: &[&str]) {
        let mounted = std::process::Command::new("mount").args(arguments).arg(self.0.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting needs root");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
#[ignore = "mounts a tmpfs, which needs root: run with --ignored"]
async fn a_full_disk_loses_nothing_and_heals_when_there_is_room() {
    let disk = SmallDisk::new();
    let path = disk.0.path().join("polls.db");
    let store = open(&path).await;
    let poll = poll(2, |_| {});
    store.create(&poll).await.expect("it is created");
    let ballast = disk.0.path().join("ballast");
    let mut applied = 0;
    for round in 0..3 {
        // As much as there is room for: the error that ends it is the one wanted.
        let _ = fs::write(&ballast, vec![1; 4 << 20]);
        let refused = loop {
            match store.apply(&batch(applied, &crowd(&poll, u32::try_from(applied).expect("few")))).await {
                Ok(_) => applied += 2000,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "round {round}: {refused:?}");
        let again = store.apply(&batch(applied, &crowd(&poll, u32::try_from(applied).expect("few")))).await;
        assert!(matches!(again, Err(StoreError::Unavailable(_))), "round {round}: {again:?}");
        assert_eq!(voters(&store, poll.id).await, applied, "reading goes on");
        fs::remove_file(&ballast).expect("it is removed");
        store.apply(&batch(applied, &crowd(&poll, u32::try_from(applied).expect("few")))).await.expect("there is room");
        applied += 2000;
        assert_eq!(voters(&store, poll.id).await, applied);
    }
}

#[tokio::test]
#[ignore = "mounts a tmpfs, which needs root: run with --ignored"]
async fn a_store_on_a_read_only_disk_is_not_opened_and_not_changed() {
    let disk = SmallDisk::new();
    let path = disk.0.path().join("polls.db");
    store_bytes(&path).await;
    disk.mount(&["-o", "remount,ro", "tmpfs"]);
    let error = refused_and_untouched(&path, "read only").await;
    assert!(matches!(error, SqliteOpenError::Io { .. }), "{error:?}");
    disk.mount(&["-o", "remount,rw", "tmpfs"]);
    open(&path).await.shut_down().await;
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "root may write everything, so as root it runs itself again as nobody: run with --ignored"]
async fn a_write_protected_file_is_read_and_takes_votes_once_it_is_writable() {
    use std::os::unix::process::CommandExt;
    let (folder, path) = place();
    store_bytes(&path).await;
    fs::remove_file(folder.path().join("polls.db.lock")).expect("it is removed");
    // SQLite gives the files beside it the permissions that it has when they are made.
    let allow = |mode: u32| {
        for file in fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("a file").path()) {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(file, permissions).expect("the permissions change");
        }
    };
    allow(0o444);
    if fs::File::options().write(true).open(&path).is_ok() {
        let test = "sqlite::a_write_protected_file_is_read_and_takes_votes_once_it_is_writable";
        let mut again = std::process::Command::new(std::env::current_exe().expect("this program"));
        let status = again.args(["--exact", test, "--ignored"]).uid(65_534).gid(65_534).status();
        assert!(status.is_ok_and(|status| status.success()), "run as nobody");
        return;
    }
    let store = open(&path).await;
    let listed = store.rank(&polling_core::store::PollFilter::default(), 10, NOW).await.expect("it is read");
    assert_eq!(voters(&store, listed[0]).await, 2000);
    for _ in 0..2 {
        let answer = store.apply(&Batch::default()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    allow(0o644);
    store.apply(&Batch::default()).await.expect("it can be written");
}
