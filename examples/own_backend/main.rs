//! The point: a store of your own is two traits, and the conformance suite says whether it is one.
//!
//! The store here keeps a journal of JSON lines in a file. `cargo run -p polling-examples --bin own_backend` counts a few
//! votes, opens the journal again and shows that they are there; `cargo test -p polling-examples` runs the suite.
#![expect(clippy::print_stdout, reason = "it is a program for a person at a terminal")]

mod journal;
mod record;
mod store;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use polling_core::bus::memory::MemoryBus;
use polling_core::clock::{Clock, SystemClock};
use polling_core::ingest::Ingest;
use polling_core::model::{Choices, OptionId, PollDraft, PollId, Vote, VoteId, VoteKind, VoterIdentity};
use polling_core::secret::{OwnerToken, Secret};
use polling_core::shutdown::Shutdown;
use polling_core::sink::VoteSink;
use polling_core::sink::memory::memory_log;
use polling_core::store::{PollStore, TallyStore};
use uuid::Uuid;

use crate::store::JournalStore;

/// Voters are known by a digest under this secret.
const SECRET: &[u8] = b"the secret of an example and of nothing else";
/// Votes that may wait: more than are sent below.
const WAITING_VOTES: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("polling-journal.jsonl"), PathBuf::from);
    let store = Arc::new(JournalStore::open(&path).await?);
    let draft = PollDraft {
        question: "Tea or coffee?".to_owned(),
        options: vec!["Tea".to_owned(), "Coffee".to_owned()],
        ..PollDraft::default()
    };
    let poll = draft.into_poll(OwnerToken::from_random(rand::random()).key(), SystemClock.now());
    let poll = poll.map_err(|broken| format!("the poll breaks rules: {broken:?}"))?;
    store.create(&poll).await?;

    let (sink, source) = memory_log(WAITING_VOTES);
    let tallies = Arc::clone(&store) as Arc<dyn TallyStore>;
    let counting = tokio::spawn(Ingest::new(Arc::new(source), tallies, Arc::new(MemoryBus::new())).run(Shutdown::new()));
    for (user, option) in [("ann", 2), ("ben", 1), ("ann", 1), ("cid", 2)] {
        let recorded = sink.record(vote(poll.id, user, option)?).await?;
        println!("{user} votes for {option}: {}", recorded.outcome.map_or("pending", |outcome| outcome.as_str()));
    }
    sink.close();
    counting.await?;
    // The last handle: the file is free to be opened again.
    drop(store);

    let store = JournalStore::open(&path).await?;
    let snapshot = store.read(poll.id).await?.ok_or("the poll is gone")?;
    println!("opened {} again:", path.display());
    for (text, votes) in snapshot.poll.options.iter().zip(&snapshot.tally.totals.votes) {
        println!("{votes} {text}");
    }
    Ok(())
}

fn vote(poll: PollId, user: &str, option: u64) -> Result<Vote, Box<dyn Error>> {
    Ok(Vote {
        poll,
        voter: Secret::new(SECRET)?.voter_key(poll, VoterIdentity::Declared(user)),
        id: VoteId(Uuid::new_v4()),
        accepted_at: SystemClock.now(),
        kind: VoteKind::Cast(Choices::single(OptionId::new(option).ok_or("there is no such option")?)),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polling_core::conformance::fixture::{batch, cast, poll};
    use polling_core::conformance::{StoreUnderTest, poll_store, tally_store};
    use polling_core::store::StoreError;
    use tempfile::TempDir;

    use super::*;

    /// A store in a folder of its own, which is removed with the last value that holds it.
    async fn under_test(folder: Arc<TempDir>) -> StoreUnderTest {
        let store = JournalStore::open(&folder.path().join("journal")).await.expect("it opens");
        let mut under_test = StoreUnderTest::forgetful(Arc::new(store));
        under_test.reopen = Some(Box::new(move || Box::pin(under_test_again(folder))));
        under_test
    }

    /// The type of a future cannot hold itself, so opening again has a name of its own.
    fn under_test_again(folder: Arc<TempDir>) -> std::pin::Pin<Box<dyn Future<Output = StoreUnderTest> + Send>> {
        Box::pin(under_test(folder))
    }

    async fn empty() -> StoreUnderTest {
        under_test(Arc::new(TempDir::new().expect("a folder"))).await
    }

    #[tokio::test]
    async fn it_is_a_poll_store() {
        poll_store(empty).await;
    }

    #[tokio::test]
    async fn it_is_a_tally_store() {
        tally_store(empty).await;
    }

    async fn reopened(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<JournalStore, StoreError> {
        let mut bytes = std::fs::read(path).expect("the journal is read");
        change(&mut bytes);
        std::fs::write(path, bytes).expect("the journal is written");
        JournalStore::open(path).await
    }

    #[tokio::test]
    async fn a_line_that_was_cut_by_a_crash_was_never_acknowledged_and_is_dropped() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("journal");
        let poll = poll(2, |_| {});
        let store = JournalStore::open(&path).await.expect("it opens");
        store.create(&poll).await.expect("it is created");
        store.apply(&batch(0, &[cast(&poll, 1, 1, &[1])])).await.expect("it is applied");
        store.apply(&batch(1, &[cast(&poll, 2, 2, &[1])])).await.expect("it is applied");
        drop(store);
        let store = reopened(&path, |bytes| bytes.truncate(bytes.len() - 5)).await.expect("it opens");
        assert_eq!(store.read(poll.id).await.expect("it is read").expect("it exists").tally.totals.voters, 1);
        store.apply(&batch(1, &[cast(&poll, 2, 2, &[1])])).await.expect("it goes on where it was cut");
        drop(store);
        let damaged = reopened(&path, |bytes| bytes[10] = b'!').await;
        assert!(matches!(damaged, Err(StoreError::Damaged(_))), "in the middle it is damage");
    }

    #[tokio::test]
    async fn a_journal_is_open_in_one_place_at_a_time() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("journal");
        let _open = JournalStore::open(&path).await.expect("it opens");
        assert!(matches!(JournalStore::open(&path).await, Err(StoreError::Unavailable(_))));
    }
}
