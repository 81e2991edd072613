//! A store in one `SQLite` file: durable, without any service, for one process.
//!
//! One connection writes, and everything that writes waits for it in line; a few others read. A transaction is on the disk,
//! synced, when a call that changes something answers. Errors heal by themselves: after one, the writing connection is
//! thrown away and the next call opens another, so a full disk that has room again needs nobody.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::migrate::{MigrateError, Migrator};
pub(super) use sqlx::query;
use sqlx::sqlite::{Sqlite, SqliteSynchronous};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow};
use sqlx::{ConnectOptions, Connection as _, Row};
use tokio::sync::{Mutex, Semaphore};

use super::rows::{self, KeptPoll};
pub use super::sqlite_file::SqliteOpenError;
use super::sqlite_file::{self as file, Found};
use super::sqlite_readers::Readers;
use super::sqlite_rows::{self, PollRow};
use super::sqlite_session::Session;
use super::sqlite_statements as statements;
use super::{Overloaded, StoreError};
use crate::model::{PollId, StandingVote};

/// A connection to the file, under a name that does not depend on the driver.
pub(super) type Connection = sqlx::SqliteConnection;
/// A statement with its parameters.
pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

static MIGRATOR: Migrator = sqlx::migrate!("../migrations/sqlite");

/// Connections that read, by default: reading is short and from memory, so more would only wait for a processor.
const READERS_DEFAULT: u32 = 4;
/// Connections for what reads through a table that grows: lists with a filter, ranks and the leaderboard. They have none of the
/// others, so that no number of them keeps a vote from its poll. A third would only take a processor from the votes.
const SCANNERS_MAX: u32 = 2;
/// Reads by a key that are taken on at once, running or waiting: at a slow machine's thousand in a second they are done within the
/// time that a client waits.
const READS_MAX: usize = 4096;
/// Scans that are taken on at once, running or waiting: a dozen for each connection is done within that time, too, when each takes a
/// third of a second, as it does with some hundred thousand polls.
const SCANS_MAX: usize = 24;
/// Changes of definitions in the writer's line at once: one that runs and one that is ready to. Each is a transaction with a sync
/// of its own, so this is how many syncs stand between a batch of votes and the writer at most, whoever creates polls.
const DEFINITIONS_IN_LINE_MAX: usize = 2;
/// Changes of definitions that are taken on at once. At a slow disk's hundred syncs in a second they are done within the time
/// that a client waits; more would wait for longer than anybody does.
const DEFINITIONS_MAX: usize = 256;
/// How long to wait for a lock. Only a tool beside us, such as a backup, can hold one; longer than this it is in the way.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the log after which it is written back into the file (16 MiB): a batch of new voters touches up to a thousand, and
/// pages that several batches touch are written back once.
const CHECKPOINT_PAGES: &str = "4000";
/// Bytes to which the log is cut after a burst.
const LOG_BYTES_MAX: &str = "67108864";
/// Kibibytes of pages that the writer keeps in memory, negative as `SQLite` has it: the inner pages of tens of millions
/// of votes.
const WRITER_CACHE: &str = "-65536";
/// Where pages go that a statement changes, in case that it fails midway: a statement of a batch changes hundreds, and writing them
/// into a temporary file took a quarter of the time of a batch.
const STATEMENT_JOURNAL: &str = "MEMORY";
/// Rows that the writer's thread may be ahead of us: a batch of duplicates reads as many as it has votes, and waking each other
/// every few rows would take longer than reading them.
const ROWS_IN_FLIGHT: usize = 2048;
/// Files up to this size are checked whole when they are opened, which takes less than a second.
const QUICK_CHECK_BYTES_MAX: u64 = 64 * 1024 * 1024;

// The primary result codes that decide something.
const FULL: i32 = 13;
const BUSY: i32 = 5;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;
const CONSTRAINT: i32 = 19;

/// How to open a store. Start from the default and change what you need.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Connections that read at the same time, at least 1. Default 4.
    pub readers_max: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers_max: READERS_DEFAULT }
    }
}

/// Polls, votes and tallies in one `SQLite` file.
///
/// It needs a Tokio runtime. Changes run in tasks of their own: dropping the future of one never interrupts it.
/// Dropping the store lets go of the file soon, [`shut_down`](Self::shut_down) before it answers.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: u64,
    readers: Readers,
    scanners: Readers,
    writer: Mutex<Writer>,
    /// A permit for each change of a definition that is taken on.
    definitions: Arc<Semaphore>,
    /// A permit for each of those that stands in line for the writer. In the order in which they came.
    definitions_in_line: Semaphore,
    /// Held as long as the store is open.
    lock: std::sync::Mutex<Option<File>>,
}

#[derive(Debug)]
struct Writer {
    options: SqliteConnectOptions,
    /// Absent while a transaction runs and after one failed: so neither an error nor a panic leaves one behind half open, nor
    /// polls in memory that are not those of the file.
    session: Option<Session>,
    closed: bool,
    #[cfg(feature = "test-util")]
    fault: Option<SqliteFault>,
}

/// What goes wrong on purpose, for tests.
#[cfg(feature = "test-util")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteFault {
    /// The file cannot grow.
    Full,
    /// Nothing can be written.
    ReadOnly,
}

impl SqliteStore {
    /// Opens the store in this file, and makes it when there is none or an empty file. Older versions are brought up to date.
    ///
    /// A file beside it, with `.lock` after the name, keeps other processes out.
    ///
    /// # Errors
    ///
    /// See [`SqliteOpenError`]. A file that is refused is left as it is.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the file as it was, or made or brought up to date; the next call goes on from there. It may be in use
    /// for a moment longer.
    pub async fn open(path: &Path, options: SqliteOptions) -> Result<Self, SqliteOpenError> {
        let path = file::resolve(path)?;
        let lock = file::lock(&path)?;
        let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
        let version = match file::inspect(&path, known)? {
            Found::Nothing => 0,
            Found::Database { bytes, has_log } => check(&path, bytes, has_log, known).await?,
        };
        let base = SqliteConnectOptions::new().filename(&path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
        let writing = base
            .clone()
            .create_if_missing(version == 0)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", WRITER_CACHE)
            .pragma("temp_store", STATEMENT_JOURNAL)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES_MAX)
            // Each vote would look its poll up once more, although it has it from the same transaction.
            .foreign_keys(false)
            .row_buffer_size(ROWS_IN_FLIGHT);
        let (connection, epoch) = prepare(&path, &writing, version < known).await?;
        let reading = base.pragma("query_only", "ON");
        let writer = Writer {
            options: writing.create_if_missing(false),
            session: Some(Session::new(connection)),
            closed: false,
            #[cfg(feature = "test-util")]
            fault: None,
        };
        let inner = Inner {
            epoch,
            readers: Readers::new(reading.clone(), options.readers_max.max(1), READS_MAX),
            scanners: Readers::new(reading, SCANNERS_MAX, SCANS_MAX),
            writer: Mutex::new(writer),
            definitions: Arc::new(Semaphore::new(DEFINITIONS_MAX)),
            definitions_in_line: Semaphore::new(DEFINITIONS_IN_LINE_MAX),
            lock: std::sync::Mutex::new(Some(lock)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for the changes that are under way, closes the file, and lets others open it. Every later call is
    /// [`StoreError::Unavailable`]; doing it again does nothing. A dropped future may leave the file open, until the store is dropped.
    pub async fn shut_down(&self) {
        let mut writer = self.inner.writer.lock().await;
        writer.closed = true;
        self.inner.readers.close().await;
        self.inner.scanners.close().await;
        if let Some(session) = writer.session.take() {
            discard(session.connection).await;
        }
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Makes every change from now on meet this fault, or none.
    #[cfg(feature = "test-util")]
    pub async fn inject(&self, fault: Option<SqliteFault>) {
        let mut writer = self.inner.writer.lock().await;
        writer.fault = fault;
        if let Some(session) = writer.session.take() {
            discard(session.connection).await;
        }
    }

    /// Runs `change` in a transaction, in a task of its own.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move { inner.writer.lock().await.transact(change).await });
        // The task ends early only when it panics or the runtime shuts down: no telling how far it came.
        task.await.unwrap_or_else(|error| Err(StoreError::Unknown(error.into())))
    }

    /// Like [`write`](Self::write), for what a client may ask for as often as it likes: votes go before. More than
    /// [`DEFINITIONS_MAX`] at once are refused at once.
    pub(super) async fn write_definition<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let overloaded = |_| StoreError::Unavailable(Overloaded.into());
        let taken_on = Arc::clone(&inner.definitions).try_acquire_owned().map_err(overloaded)?;
        let task = tokio::spawn(async move {
            let _taken_on = taken_on;
            // Nobody closes this one.
            let _in_line = inner.definitions_in_line.acquire().await.map_err(|closed| StoreError::Unavailable(closed.into()))?;
            inner.writer.lock().await.transact(change).await
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Unknown(error.into())))
    }

    /// What the versions of this store begin with.
    pub(super) fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Runs a statement that finds something by its key, outside of any transaction. More than [`READS_MAX`] at once are refused at
    /// once.
    pub(super) async fn read_rows(&self, query: Query) -> Result<Vec<SqliteRow>, StoreError> {
        self.inner.readers.rows(query).await
    }

    /// The same for a statement that may read through a whole table; more than [`SCANS_MAX`].
    pub(super) async fn scan_rows(&self, query: Query) -> Result<Vec<SqliteRow>, StoreError> {
        self.inner.scanners.rows(query).await
    }
}

/// Looks into a file that begins like a database, without changing it; answers its version.
async fn check(path: &Path, bytes: u64, has_log: bool, known: i64) -> Result<i64, SqliteOpenError> {
    // Without a log beside it the file is all there is, and nobody else has it: then not even a lock is needed.
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(!has_log).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(|error| open_error(path, error))?;
    let checked = check_through(&mut connection, path, bytes, known).await;
    discard(connection).await;
    checked
}

async fn check_through(connection: &mut Connection, path: &Path, bytes: u64, known: i64) -> Result<i64, SqliteOpenError> {
    let failed = |error| open_error(path, error);
    let application_id = sqlx::query_scalar(statements::APPLICATION_ID).fetch_one(&mut *connection).await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar(statements::USER_VERSION).fetch_one(&mut *connection).await.map_err(failed)?;
    file::refuse(path, application_id, version, known)?;
    let tables: i64 = sqlx::query_scalar(statements::TABLES).fetch_one(&mut *connection).await.map_err(failed)?;
    if application_id == 0 && tables > 0 {
        return Err(SqliteOpenError::WrongApplication { path: path.to_owned(), found: 0 });
    }
    if application_id == file::APPLICATION_ID {
        let newest = sqlx::query_scalar(statements::NEWEST_MIGRATION).fetch_one(&mut *connection).await.map_err(failed)?;
        file::refuse(path, application_id, newest, known)?;
    }
    if bytes <= QUICK_CHECK_BYTES_MAX {
        let verdict: String = sqlx::query_scalar(statements::QUICK_CHECK).fetch_one(&mut *connection).await.map_err(failed)?;
        if verdict != "ok" {
            return Err(SqliteOpenError::Damaged { path: path.to_owned(), detail: verdict });
        }
    }
    // A file without tables is a new one, whatever version somebody gave it.
    Ok(if application_id == 0 { 0 } else { version })
}

/// Opens the writing connection, brings the file up to date, and reads the epoch.
async fn prepare(path: &Path, options: &SqliteConnectOptions, migrating: bool) -> Result<(Connection, u64), SqliteOpenError> {
    let mut connection = options.connect().await.map_err(|error| open_error(path, error))?;
    match prepare_through(&mut connection, path, migrating).await {
        Ok(epoch) => Ok((connection, epoch)),
        Err(error) => {
            discard(connection).await;
            Err(error)
        }
    }
}

async fn prepare_through(connection: &mut Connection, path: &Path, migrating: bool) -> Result<u64, SqliteOpenError> {
    let failed = |error| open_error(path, error);
    MIGRATOR.run_direct(None, &mut *connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => open_error(path, error),
        other => SqliteOpenError::Damaged { path: path.to_owned(), detail: other.to_string() },
    })?;
    if migrating {
        // Into the file itself, whose header an older program looks at before it opens it.
        query(statements::CHECKPOINT_WAL).execute(&mut *connection).await.map_err(failed)?;
    }
    let epoch: i64 = sqlx::query_scalar(statements::EPOCH).fetch_one(&mut *connection).await.map_err(failed)?;
    u64::try_from(epoch).map_err(|_| SqliteOpenError::Damaged { path: path.to_owned(), detail: format!("its epoch is {epoch}") })
}

impl Writer {
    async fn transact<T, F>(&mut self, change: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, Result<T, StoreError>>,
    {
        if self.closed {
            return Err(StoreError::Unavailable("the store is closed".into()));
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::new(self.connect().await.map_err(before_commit)?),
        };
        let answer = in_transaction(&mut session, change).await;
        match &answer {
            Ok(_) | Err(StoreError::Fenced { .. }) => self.session = Some(session),
            // Whatever state it is in, closing it rolls back what was not committed.
            Err(_) => discard(session.connection).await,
        }
        answer
    }

    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        #[cfg_attr(not(feature = "test-util"), expect(unused_mut, reason = "a fault is set up on it"))]
        let mut connection = self.options.connect().await?;
        #[cfg(feature = "test-util")]
        if let Some(fault) = self.fault {
            let pragma = match fault {
                SqliteFault::Full => "PRAGMA max_page_count = 1",
                SqliteFault::ReadOnly => "PRAGMA query_only = ON",
            };
            query(pragma).execute(&mut connection).await?;
        }
        Ok(connection)
    }
}

async fn in_transaction<T, F>(session: &mut Session, change: F) -> Result<T, StoreError>
where
    F: for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, Result<T, StoreError>>,
{
    query(statements::BEGIN).execute(&mut session.connection).await.map_err(before_commit)?;
    match change(session).await {
        Ok(changed) => {
            query(statements::COMMIT).execute(&mut session.connection).await.map_err(at_commit)?;
            Ok(changed)
        }
        Err(error) => {
            let rolled_back = query(statements::ROLLBACK).execute(&mut session.connection).await;
            match (error, rolled_back) {
                // The one error after which the session is used again: it is found before anything changes.
                (StoreError::Fenced { .. }, Err(error)) => Err(before_commit(error)),
                (error, _) => Err(error),
            }
        }
    }
}

/// Closes a connection that is of no more use, and waits until the file is let go. What it says then changes nothing.
async fn discard(connection: Connection) {
    drop(connection.close().await);
}

fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    // The lower byte is the primary code; the rest only tells where.
    Some(extended & 0xff)
}

/// What an error means as long as COMMIT has not been tried: nothing was changed.
pub(super) fn before_commit(error: sqlx::Error) -> StoreError {
    let unreadable = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
    if unreadable || matches!(code(&error), Some(CORRUPT | NOT_A_DATABASE | CONSTRAINT)) {
        StoreError::Damaged(error.to_string())
    } else {
        StoreError::Unavailable(error.into())
    }
}

/// What an error of COMMIT means. FULL: the disk took less than the whole of a page, and a commit that is not whole in the log
/// is none. BUSY: it was not begun. Both are rolled back afterwards. After any other, such as a failed sync, the commit may
/// stand in the log and be found there after a crash.
fn at_commit(error: sqlx::Error) -> StoreError {
    if matches!(code(&error), Some(FULL | BUSY)) {
        StoreError::Unavailable(error.into())
    } else {
        StoreError::Unknown(error.into())
    }
}

fn open_error(path: &Path, error: sqlx::Error) -> SqliteOpenError {
    match code(&error) {
        Some(NOT_A_DATABASE) => SqliteOpenError::NotADatabase { path: path.to_owned() },
        Some(CORRUPT) => SqliteOpenError::Damaged { path: path.to_owned(), detail: error.to_string() },
        _ => SqliteOpenError::io(path, error),
    }
}

/// Runs a statement that changes something; answers how many rows.
pub(super) async fn execute(connection: &mut Connection, query: Query) -> Result<u64, StoreError> {
    Ok(query.execute(connection).await.map_err(before_commit)?.rows_affected())
}

/// Runs a statement that finds something.
pub(super) async fn find(connection: &mut Connection, query: Query) -> Result<Vec<SqliteRow>, StoreError> {
    query.fetch_all(connection).await.map_err(before_commit)
}

/// The value of a column.
pub(super) fn column<'r, T>(row: &'r SqliteRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(name).map_err(before_commit)
}

/// What a column says, or that the store is damaged.
pub(super) fn sound<T>(value: Option<T>, what: &str) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Damaged(format!("{what} cannot be read")))
}

pub(super) fn kept_poll(row: &SqliteRow, epoch: u64) -> Result<KeptPoll, StoreError> {
    let columns = PollRow {
        number: column(row, "number")?,
        id: column(row, "id")?,
        archived: column(row, "archived")?,
        version: column(row, "version")?,
        voters: column(row, "voters")?,
        max_choices: column(row, "max_choices")?,
        allow_change: column(row, "allow_change")?,
        results: column(row, "results")?,
        opens_at: column(row, "opens_at")?,
        closes_at: column(row, "closes_at")?,
        transition_at: column(row, "transition_at")?,
        last_accepted_at: column(row, "last_accepted_at")?,
        owner: column(row, "owner")?,
        question: column(row, "question")?,
        options: column(row, "options")?,
        tally: column(row, "tally")?,
    };
    sound(columns.read(epoch), "a poll")
}

pub(super) fn poll_id(row: &SqliteRow) -> Result<PollId, StoreError> {
    sound(sqlite_rows::poll_id(column(row, "id")?), "the identifier of a poll")
}

/// A vote or retraction that stands, as a row of `votes`.
pub(super) fn standing_vote(row: &SqliteRow) -> Result<StandingVote, StoreError> {
    Ok(StandingVote {
        id: sound(sqlite_rows::vote_id(column(row, "vote_id")?), "the name of a vote")?,
        choices: sound(rows::optional_choices(column(row, "choices")?), "the choices of a vote")?,
        position: sound(rows::position(column(row, "log_partition")?, column(row, "log_offset")?), "the position of a vote")?,
    })
}

/// The identifier of a poll as a statement takes it.
pub(super) fn blob(poll: PollId) -> Vec<u8> {
    poll.as_uuid().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor};

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch};
    use crate::clock::{Clock, SystemClock};
    use crate::model::{Choices, OptionId, Outcome, OwnerKey, Poll, PollDraft, PollState, Vote, VoteId, VoteKind, VoterKey};
    use crate::store::{CreationOrder, PollFilter, PollStore, TallyStore};

    async fn store(folder: &tempfile::TempDir) -> Arc<SqliteStore> {
        let path = folder.path().join("polls.db");
        Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await.expect("it is opened"))
    }

    fn poll() -> Poll {
        let draft = PollDraft { question: "Tea?".into(), options: vec!["Yes".into(), "No".into()], ..PollDraft::default() };
        draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound")
    }

    /// Lets everything go on that waits for nothing but its turn.
    async fn all_take_their_turn() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_batch_of_votes_waits_for_a_few_new_polls_and_not_for_all_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let held = store.inner.writer.lock().await;
        let (created, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let creating: Vec<_> = (0..DEFINITIONS_MAX + 100)
            .map(|_| {
                let (store, created, refused) = (Arc::clone(&store), Arc::clone(&created), Arc::clone(&refused));
                tokio::spawn(async move {
                    match store.create(&poll()).await {
                        Ok(()) => created.fetch_add(1, Ordering::SeqCst),
                        Err(error) if error.is_overload() => refused.fetch_add(1, Ordering::SeqCst),
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        all_take_their_turn().await;
        assert_eq!(refused.load(Ordering::SeqCst), 100, "what is too much is refused at once");
        let voting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.apply(&Batch::default()).await }
        });
        all_take_their_turn().await;
        drop(held);
        voting.await.expect("no panic").expect("applied");
        let before = created.load(Ordering::SeqCst);
        // One more may have gone on since, while this test was not looking.
        assert!(before <= 2 * DEFINITIONS_IN_LINE_MAX, "the votes waited for {before} new polls");
        for creating in creating {
            creating.await.expect("no panic");
        }
        assert_eq!(created.load(Ordering::SeqCst), DEFINITIONS_MAX);
        store.create(&poll()).await.expect("there is room again");
    }

    #[tokio::test]
    async fn scans_take_no_connection_from_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let known = poll();
        store.create(&known).await.expect("created");
        let mut held = Vec::new();
        for _ in 0..SCANNERS_MAX {
            held.push(store.inner.scanners.connections.acquire().await.expect("a connection"));
        }
        let now = SystemClock.now();
        let open = PollFilter { state: Some(PollState::Open), ..PollFilter::default() };
        let mut scans = [
            Box::pin(async { store.list(&open, CreationOrder::default(), None, 1, now).await.map(drop) }) as BoxFuture<'_, _>,
            Box::pin(async { store.rank(&PollFilter::default(), 1, now).await.map(drop) }),
            Box::pin(async { store.leaders(1, now).await.map(drop) }),
        ];
        for scan in &mut scans {
            assert!(futures_util::poll!(scan).is_pending());
        }
        assert!(store.read(known.id).await.expect("it is read").is_some());
        let page = store.list(&PollFilter::default(), CreationOrder::default(), None, 1, now).await;
        assert_eq!(page.expect("a page is no scan").len(), 1);
        drop(held);
        for scan in scans {
            scan.await.expect("it is its turn");
        }
    }

    #[tokio::test]
    async fn scans_and_reads_that_are_too_much_are_an_overload_and_no_trouble() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let known = poll();
        store.create(&known).await.expect("created");
        let mut held = Vec::new();
        for (readers, connections_max) in [(&store.inner.scanners, SCANNERS_MAX), (&store.inner.readers, READERS_DEFAULT)] {
            for _ in 0..connections_max {
                held.push(readers.connections.acquire().await.expect("a connection"));
            }
        }
        let filter = PollFilter { text: Some("zzz".into()), ..PollFilter::default() };
        let scan = || Box::pin(async { store.rank(&filter, 1, known.id.created_at()).await.map(drop) }) as BoxFuture<'_, _>;
        let read = || Box::pin(async { store.read(known.id).await.map(drop) }) as BoxFuture<'_, _>;
        let mut waiting: Vec<_> = (0..SCANS_MAX).map(|_| scan()).chain((0..READS_MAX).map(|_| read())).collect();
        for waiting in &mut waiting {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        let is_overload = |answer: Result<(), StoreError>| answer.is_err_and(|error| error.is_overload());
        for mut one_more in [scan(), read()] {
            let std::task::Poll::Ready(answer) = futures_util::poll!(&mut one_more) else { panic!("it waits") };
            assert!(is_overload(answer));
        }
        tokio::time::pause();
        for waiting in waiting {
            assert!(is_overload(waiting.await), "its turn did not come in time");
        }
        tokio::time::resume();
        drop(held);
        scan().await.expect("there is room again");
        read().await.expect("there is room again");
    }

    #[tokio::test]
    async fn after_a_batch_that_names_many_large_polls_they_are_forgotten_and_still_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let option = |number| format!("{number:03}{}", "\u{1f5f3}".repeat(197));
        let mut votes = Vec::new();
        // Of 80 KB each.
        for number in 0..220 {
            let draft = PollDraft { question: "Which?".into(), options: (0..100).map(option).collect(), ..PollDraft::default() };
            let poll = draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound");
            store.create(&poll).await.expect("created");
            let kind = VoteKind::Cast(Choices::single(OptionId::from_index(1).expect("an option")));
            let id = VoteId(uuid::Uuid::from_u128(number));
            votes.push(Vote { poll: poll.id, voter: VoterKey([7; 16]), id, accepted_at: SystemClock.now(), kind });
        }
        let batch = |first: usize, votes: &[Vote]| {
            let entries = votes.iter().copied().map(Entry::Vote).collect();
            Batch::single(PartitionBatch { partition: Partition(0), first: Offset::ZERO.plus(first), entries, last: None })
        };
        let applied = store.apply(&batch(0, &votes)).await.expect("applied");
        assert!(applied.outcomes.iter().all(|&outcome| outcome == Outcome::Counted));
        let known = store.inner.writer.lock().await.session.as_ref().map(|session| session.known().len());
        assert_eq!(known, Some(0), "the next batch may be small");
        let second = Vote { id: VoteId(uuid::Uuid::from_u128(1000)), ..votes[0] };
        let applied = store.apply(&batch(votes.len(), &[second])).await.expect("applied");
        assert_eq!(applied.outcomes, [Outcome::Duplicate], "voters are not forgotten");
    }

    /// Every statement, those apart that are run as one.
    fn each_alone() -> impl Iterator<Item = &'static str> {
        statements::ALL.iter().flat_map(|statement| statement.split("; "))
    }

    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("polls.db");
        SqliteStore::open(&path, SqliteOptions::default()).await.expect("it is opened").shut_down().await;
        let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.expect("it is opened");
        for statement in each_alone() {
            let prepared = (&mut connection).prepare(sqlx::SqlStr::from_static(statement)).await;
            prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let (written, listed) = include_str!("sqlite_statements.rs").split_once("ALL: &[&str]").expect("the list is there");
        for line in written.lines().filter(|line| line.contains("&str")) {
            let Some((name, _)) = line.strip_prefix("pub(super) const ").and_then(|line| line.split_once(':')) else { continue };
            assert!(listed.contains(&format!("    {name}")), "{name} is not in the list of all");
        }
    }

    #[tokio::test]
    async fn no_statement_of_a_batch_walks_through_a_table_that_grows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("polls.db");
        SqliteStore::open(&path, SqliteOptions::default()).await.expect("it is opened").shut_down().await;
        let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.expect("it is opened");
        // The statements that read through a table on purpose: lists, ranks and the leaderboard.
        let walking = [statements::LIST_NEWEST_FIRST, statements::LIST_OLDEST_FIRST, statements::RANK, statements::LEADERS];
        for statement in each_alone().filter(|statement| !walking.contains(statement)) {
            let plan = query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            for row in plan.fetch_all(&mut connection).await.expect("it is explained") {
                let step: String = row.get("detail");
                let walks = ["polls", "poll_texts", "tallies", "votes", "past_votes", "dead_letters"]
                    .iter()
                    .any(|table| step == format!("SCAN {table}"));
                assert!(!walks, "{statement}: {step}");
            }
        }
    }
}
