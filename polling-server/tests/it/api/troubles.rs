//! A log or a store that does not answer as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polling_core::clock::Timestamp;
use polling_core::model::{Outcome, Poll, PollId, Vote};
use polling_core::sink::memory::MemorySink;
use polling_core::sink::{Recorded, SinkError, VoteSink};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{CreationOrder, PollFilter, PollSnapshot, PollStore, StoreError, Transitions};
use serde_json::json;
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::support::{Answered, Server, Setup};

/// What must never be shown to a client.
const CAUSE: &str = "password=hunter2";

/// What a sink does with every vote.
enum Fate {
    NotRecorded,
    Unknown,
    Never,
    Pending,
    Invalid,
    Panic,
}

struct FatefulSink(Fate);

#[async_trait]
impl VoteSink for FatefulSink {
    async fn record(&self, _vote: Vote) -> Result<Recorded, SinkError> {
        match self.0 {
            Fate::NotRecorded => Err(SinkError::NotRecorded { reason: CAUSE.to_owned() }),
            Fate::Unknown => Err(SinkError::Unknown { reason: CAUSE.to_owned() }),
            Fate::Never => std::future::pending().await,
            Fate::Pending => Ok(Recorded { position: None, outcome: None, is_conflict: false }),
            Fate::Invalid => Ok(Recorded { position: None, outcome: Some(Outcome::Invalid), is_conflict: false }),
            Fate::Panic => panic!("{CAUSE}"),
        }
    }
}

fn start(sink: fn(MemorySink) -> Arc<dyn VoteSink>) -> Server {
    Server::start_with(Setup { sink, ..Setup::default() })
}

fn check_trouble(answer: &Answered, name: &str, recorded: Option<&str>) {
    let document = answer.expect_problem(503, name);
    assert_eq!(document.get("recorded").and_then(|member| member.as_str()), recorded);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_was_not_acknowledged_says_whether_it_may_be_recorded() {
    for (sink, name, recorded) in [
        ((|_| Arc::new(FatefulSink(Fate::NotRecorded))) as fn(MemorySink) -> Arc<dyn VoteSink>, "not-recorded", "no"),
        (|_| Arc::new(FatefulSink(Fate::Unknown)), "outcome-unknown", "unknown"),
        (|_| Arc::new(FatefulSink(Fate::Never)), "outcome-unknown", "unknown"),
    ] {
        let server = start(sink);
        let poll = server.create(json!({ "allow_change": true })).await;
        check_trouble(&server.vote(&poll, "ann", 1).await, name, Some(recorded));
        check_trouble(&server.delete(&poll.path("/vote?voter_id=ann")).send().await, name, Some(recorded));
        let batch = json!({ "votes": [{ "choices": [1], "voter_id": "a" }, { "choices": [9], "voter_id": "b" }] });
        check_trouble(&server.post(&poll.path("/votes"), &batch).send().await, name, Some(recorded));
        // The browser must stay the same voter when it tries again.
        let browser = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
        check_trouble(&browser, name, Some(recorded));
        assert!(browser.header("set-cookie").starts_with("polling_voter="));
    }
}

#[tokio::test(start_paused = true)]
async fn a_vote_whose_outcome_is_not_known_is_pending() {
    let server = start(|_| Arc::new(FatefulSink(Fate::Pending)));
    let poll = server.create(json!({})).await;
    let accepted = server.vote(&poll, "ann", 1).await.expect(202);
    assert_eq!(accepted["status"], "pending");
    assert_eq!(server.receipt_status(&accepted["receipt"]).await, "pending");
    let started = tokio::time::Instant::now();
    let body = json!({ "choices": [1], "voter_id": "ann" });
    let waited = server.post(&poll.path("/vote"), &body).header("prefer", "wait=4").send().await;
    assert_eq!((waited.expect(202)["status"].as_str(), waited.header("preference-applied")), (Some("pending"), "wait=4"));
    assert_eq!(started.elapsed().as_secs(), 4);
    let path = format!("/receipts/{}", accepted["receipt"].as_str().expect("a receipt"));
    let receipt = server.get(&path).header("prefer", "wait=2").send().await;
    assert_eq!((receipt.expect(200)["status"].as_str(), started.elapsed().as_secs()), (Some("pending"), 6));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_its_text() {
    let server = start(|_| Arc::new(FatefulSink(Fate::Panic)));
    let poll = server.create(json!({})).await;
    let answer = server.vote(&poll, "ann", 1).await;
    answer.expect_problem(500, "internal");
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("hunter2"));
    server.get(&poll.path("")).send().await.expect(200);
}

/// What a store does.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Unavailable,
    Unknown,
    Damaged,
    Never,
    Panic,
    /// It takes a second, once.
    Slow,
}

/// A store that works until it is told to stop.
struct MoodyStore {
    inner: Arc<MemoryStore>,
    mood: Mood,
    is_moody: Arc<AtomicBool>,
}

impl MoodyStore {
    async fn check(&self) -> Result<(), StoreError> {
        if !self.is_moody.load(Ordering::SeqCst) {
            return Ok(());
        }
        match self.mood {
            Mood::Unavailable => Err(StoreError::Unavailable(CAUSE.into())),
            Mood::Unknown => Err(StoreError::Unknown(CAUSE.into())),
            Mood::Damaged => Err(StoreError::Damaged(CAUSE.to_owned())),
            Mood::Never => std::future::pending().await,
            Mood::Panic => panic!("{CAUSE}"),
            Mood::Slow => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.is_moody.store(false, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl PollStore for MoodyStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.create(poll).await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        // The owner of a poll must be found for the poll to be changed.
        if matches!(self.mood, Mood::Unavailable | Mood::Slow) {
            self.check().await?;
        }
        self.inner.read(poll).await
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        self.check().await?;
        self.inner.list(filter, order, after, limit, now).await
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        self.check().await?;
        self.inner.rank(filter, limit, now).await
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        // Somewhere else to be, so that the call goes through a task of its own.
        tokio::task::yield_now().await;
        self.check().await?;
        self.inner.close(poll, at).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        tokio::task::yield_now().await;
        self.check().await?;
        self.inner.archive(poll).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        self.inner.transition(now).await
    }
}

async fn moody(mood: Mood) -> (Server, super::support::Created) {
    let (server, poll, _is_moody) = moody_until_told(mood).await;
    (server, poll)
}

async fn moody_until_told(mood: Mood) -> (Server, super::support::Created, Arc<AtomicBool>) {
    moody_over(mood, Setup::default()).await
}

async fn moody_over(mood: Mood, setup: Setup) -> (Server, super::support::Created, Arc<AtomicBool>) {
    let is_moody = Arc::new(AtomicBool::new(false));
    let setup = Setup { deadline: Duration::from_secs(2), ..setup };
    let store = MoodyStore { inner: setup.store.clone(), mood, is_moody: is_moody.clone() };
    let server = Server::start_with(Setup { polls: Some(Arc::new(store)), ..setup });
    let poll = server.create(json!({ "allow_change": true })).await;
    // The store must be asked, and not what the creation left in the cache.
    server.views.forget(poll.poll_id());
    is_moody.store(true, Ordering::SeqCst);
    (server, poll, is_moody)
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_store_did_not_confirm_says_whether_it_may_be_made() {
    let new_poll = json!({ "question": "q", "options": ["a", "b"] });
    let (server, poll) = moody(Mood::Unavailable).await;
    check_trouble(&server.post("/polls", &new_poll).send().await, "not-recorded", Some("no"));
    check_trouble(&server.get(&poll.path("")).send().await, "unavailable", None);
    check_trouble(&server.vote(&poll, "ann", 1).await, "not-recorded", Some("no"));
    for mood in [Mood::Unknown, Mood::Never] {
        let (server, poll) = moody(mood).await;
        check_trouble(&server.post("/polls", &new_poll).send().await, "outcome-unknown", Some("unknown"));
        let close = server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner).send().await;
        check_trouble(&close, "outcome-unknown", Some("unknown"));
        let delete = server.delete(&poll.path("")).bearer(&poll.owner).send().await;
        check_trouble(&delete, "outcome-unknown", Some("unknown"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_says_so_and_nothing_more() {
    for (mood, sort) in [(Mood::Unavailable, "newest"), (Mood::Unknown, "votes"), (Mood::Never, "oldest")] {
        let (server, _poll) = moody(mood).await;
        check_trouble(&server.get(&format!("/polls?sort={sort}")).send().await, "unavailable", None);
    }
    for mood in [Mood::Damaged, Mood::Panic] {
        let (server, poll) = moody(mood).await;
        let answer = server.get("/polls").send().await;
        answer.expect_problem(500, "internal");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("hunter2"));
        // A panic in a task of its own comes back to the request.
        let close = server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner).send().await;
        close.expect_problem(500, "internal");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_known_is_shown_and_voted_on_while_the_store_is_away() {
    for mood in [Mood::Unavailable, Mood::Slow] {
        let (server, poll, is_moody) = moody_until_told(mood).await;
        is_moody.store(false, Ordering::SeqCst);
        assert_eq!(server.get(&poll.path("")).send().await.header("cache-status"), "");
        is_moody.store(true, Ordering::SeqCst);
        // News was lost, so what is known may be outdated.
        server.views.forget_all();
        let shown = server.get(&poll.path("")).send().await;
        assert_eq!(shown.expect(200)["id"].as_str(), Some(&*poll.id));
        assert_eq!(shown.header("cache-status"), "polling-server; hit; ttl=-1", "it says so");
        server.vote(&poll, "ann", 1).await.expect(202);
    }
    // Nobody knows what became of a poll that is known to have changed.
    let (server, poll) = moody(Mood::Unavailable).await;
    check_trouble(&server.get(&poll.path("")).send().await, "unavailable", None);
    check_trouble(&server.vote(&poll, "ann", 1).await, "not-recorded", Some("no"));
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_is_invalid_is_not_called_early_when_the_store_does_not_say_why() {
    let setup = Setup { sink: |_| Arc::new(FatefulSink(Fate::Invalid)), ..Setup::default() };
    let (server, poll, is_moody) = moody_over(Mood::Unavailable, setup).await;
    is_moody.store(false, Ordering::SeqCst);
    server.get(&poll.path("")).send().await.expect(200);
    server.vote(&poll, "ann", 1).await.expect_problem(409, "poll-not-open");
    is_moody.store(true, Ordering::SeqCst);
    server.vote(&poll, "ben", 1).await.expect_problem(404, "poll-not-found");
    server.delete(&poll.path("/vote?voter_id=ann")).send().await.expect_problem(404, "poll-not-found");
}

/// Counts what is logged when nobody says what to log.
struct Lines(Arc<AtomicU64>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, _event: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_is_counted_and_is_no_line_of_the_log() {
    let metrics = polling_server::telemetry::start().expect("recorded");
    let failures = |problem: &str| -> u64 {
        let start = format!("polling_failures_total{{problem=\"{problem}\"}} ");
        let count = metrics.render().lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        count.unwrap_or_default()
    };
    let problems = ["not-recorded", "outcome-unknown", "unavailable"];
    let before = problems.map(failures);
    let lines = Arc::<AtomicU64>::default();
    let _logged = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    let new_poll = json!({ "question": "q", "options": ["a", "b"] });
    for sink in [(|_| Arc::new(FatefulSink(Fate::NotRecorded))) as fn(MemorySink) -> Arc<dyn VoteSink>, |_| {
        Arc::new(FatefulSink(Fate::Unknown))
    }] {
        let server = start(sink);
        let poll = server.create(json!({})).await;
        for voter in ["ann", "ben"] {
            assert_eq!(server.vote(&poll, voter, 1).await.status, 503);
        }
    }
    for mood in [Mood::Unavailable, Mood::Unknown] {
        let (server, _poll) = moody(mood).await;
        for path in ["/polls?sort=newest", "/polls?sort=votes"] {
            check_trouble(&server.get(path).send().await, "unavailable", None);
        }
        assert_eq!(server.post("/polls", &new_poll).send().await.status, 503);
    }
    assert_eq!(lines.load(Ordering::SeqCst), 0);
    tracing::warn!("what is logged is heard");
    assert_eq!(lines.load(Ordering::SeqCst), 1);
    for ((problem, before), added) in problems.into_iter().zip(before).zip([3, 3, 4]) {
        assert!(failures(problem) >= before + added, "{problem}: {} after {before}", failures(problem));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_cut_a_read_short() {
    for path in [None, Some("/leaderboard")] {
        let (server, poll, is_moody) = moody_until_told(Mood::Slow).await;
        // The leaderboard reads the polls that are on it.
        server.vote(&poll, "ann", 1).await.expect(202);
        server.views.forget(poll.poll_id());
        is_moody.store(true, Ordering::SeqCst);
        let path = path.map_or_else(|| poll.path(""), str::to_owned);
        let request = server.get(&path).send();
        tokio::time::timeout(Duration::from_millis(500), request).await.expect_err("gone before the answer");
        assert!(is_moody.load(Ordering::SeqCst), "{path} was still being read");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!is_moody.load(Ordering::SeqCst), "{path} was read to the end");
    }
}
