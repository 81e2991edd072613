//! What a socket shows to whom, and when the store does not say.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use polling_core::checkpoint::{Batch, Checkpoint};
use polling_core::clock::{Clock, SystemClock, Timestamp};
use polling_core::model::{History, Poll, PollDraft, PollId, Receipt, Resolution, ResultsVisibility, Steps, Tally, VoterKey};
use polling_core::secret::OwnerToken;
use polling_core::store::memory::MemoryStore;
use polling_core::store::{Applied, CountedVote, Leader, PollStore, StoreError, TallyStore};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::live::{Client, Server, live};
use crate::store::WatchedStore;

fn after_vote(draft: &mut PollDraft) {
    draft.results = ResultsVisibility::AfterVote;
}

fn subscribe(polls: &[&Poll]) -> Value {
    json!({ "subscribe": polls.iter().map(|poll| poll.id.to_string()).collect::<Vec<_>>() })
}

/// Whether each of the next frames shows votes.
async fn shows_votes<const FRAMES: usize>(client: &mut Client) -> [bool; FRAMES] {
    let mut shown = [false; FRAMES];
    for shown in &mut shown {
        let frame = client.frame().await;
        assert_eq!(frame["type"], "results", "{frame}");
        *shown = frame.get("options").is_some();
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_shows_hidden_results_of_those_polls_in_which_the_viewer_may_see_them() {
    let server = Server::start().await;
    let token = OwnerToken::from_random([5; 32]);
    let owned = server.create_owned(token.key(), |draft| draft.results = ResultsVisibility::AfterClose).await;
    let (voted, other) = (server.create(after_vote).await, server.create(after_vote).await);
    let receipt = server.vote(&voted, 1).await;
    let vote = format!("http://{}/polls/{}/vote", server.address, other.id);
    let answer = reqwest::Client::new().post(vote).json(&json!({ "choices": [1] })).send().await.expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let all = [&owned, &voted, &other];
    let path = format!("/live?receipt={receipt}");
    let bearer = format!("Bearer {}", token.reveal());
    let shown = async |path: &str, headers: &[(&'static str, &str)]| {
        let mut client = server.try_connect(path, headers).await.expect("upgraded");
        client.say(&subscribe(&all)).await;
        shows_votes::<3>(&mut client).await
    };
    let (owner, browser) = (("authorization", bearer.as_str()), ("cookie", cookie.as_str()));
    assert_eq!(shown("/live", &[]).await, [false, false, false]);
    assert_eq!(shown("/live", &[owner]).await, [true, false, false]);
    assert_eq!(shown(&path, &[]).await, [false, true, false]);
    assert_eq!(shown("/live", &[browser]).await, [false, false, true]);
    assert_eq!(shown(&path, &[owner, browser]).await, [true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_results_are_shown_is_decided_again_at_each_subscription() {
    let server = Server::start().await;
    let changeable = |draft: &mut PollDraft| {
        after_vote(draft);
        draft.allow_change = true;
    };
    let poll = server.create(changeable).await;
    let receipt = server.vote(&poll, 1).await;
    let mut client = server.connect(&format!("/live?receipt={receipt}")).await;
    client.say(&subscribe(&[&poll])).await;
    assert!(shows_votes::<1>(&mut client).await[0]);
    client.say(&json!({ "unsubscribe": [poll.id.to_string()] })).await;
    // Another vote takes the place of the one with the receipt, which proves nothing any more.
    server.vote(&poll, 1).await;
    client.say(&subscribe(&[&poll])).await;
    assert!(!shows_votes::<1>(&mut client).await[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_we_did_not_make_is_refused_before_the_upgrade() {
    let server = Server::start().await;
    let (poll, other) = (server.create(after_vote).await, server.create(after_vote).await);
    let receipt = server.vote(&other, 1).await;
    let refused = (422, "validation".to_owned());
    assert_eq!(server.refused("/live?receipt=made-up", &[]).await, refused);
    assert_eq!(server.refused(&format!("{}?receipt={receipt}", live(&poll)), &[]).await, refused);
}

/// A store that never says who leads.
struct SilentStore(Arc<dyn TallyStore>);

#[async_trait]
impl TallyStore for SilentStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.0.apply(batch).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.0.checkpoint().await
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        self.0.tallies(polls).await
    }

    async fn leaders(&self, _limit: usize, _now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        std::future::pending().await
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        self.0.outcome(receipt).await
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        self.0.standing(poll, voter).await
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        self.0.history(poll, steps).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_unavailable_and_the_socket_stays() {
    let silence = |backends: &mut polling_core::open::Backends| {
        backends.tallies = Arc::new(SilentStore(Arc::clone(&backends.tallies)));
    };
    let server = Server::start_over(&["--handler-deadline", "100ms"], silence).await;
    let poll = server.create(|_| {}).await;
    assert_eq!(server.refused("/leaderboard/live", &[]).await, (503, "unavailable".to_owned()));
    let mut client = server.connect("/live").await;
    client.say(&json!({ "leaderboard": true })).await;
    let frame = client.frame().await;
    assert_eq!((&frame["type"], &frame["problem"]), (&json!("error"), &json!("/problems/unavailable")));
    client.say(&subscribe(&[&poll])).await;
    assert!(shows_votes::<1>(&mut client).await[0]);
}

/// A server whose requests wait for the store for longer than a test does, and the store.
async fn start_over_held_up_store() -> (Server, Arc<WatchedStore>) {
    let store = WatchedStore::over(Arc::new(MemoryStore::default()));
    let over = |backends: &mut polling_core::open::Backends| {
        backends.polls = Arc::clone(&store) as Arc<dyn PollStore>;
        backends.tallies = Arc::clone(&store) as Arc<dyn TallyStore>;
    };
    (Server::start_over(&["--handler-deadline", "5m"], over).await, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_slow_to_be_read_keeps_nothing_else_on_the_socket_waiting() {
    let (server, store) = start_over_held_up_store().await;
    let (slow, first, second) = (server.create(|_| {}).await, server.create(|_| {}).await, server.create(|_| {}).await);
    store.held_up.send_modify(|held_up| held_up.extend([slow.id]));
    let mut client = server.connect("/live").await;
    client.say(&subscribe(&[&slow, &first])).await;
    assert_eq!(client.frame().await["poll_id"], first.id.to_string(), "the snapshot comes at once");
    server.vote(&first, 1).await;
    assert_eq!(client.frame().await["voters"], 1, "and so does news");
    client.say(&subscribe(&[&slow, &second])).await;
    assert_eq!(client.frame().await["poll_id"], second.id.to_string(), "and whatever else is asked for");
    store.held_up.send_modify(HashSet::clear);
    assert_eq!(client.frame().await["poll_id"], slow.id.to_string(), "once, although it was asked for twice");
    client.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wanted_any_more_when_it_is_read_at_last_is_not_shown() {
    let (server, store) = start_over_held_up_store().await;
    let (slow, other) = (server.create(|_| {}).await, server.create(|_| {}).await);
    store.held_up.send_modify(|held_up| held_up.extend([slow.id, other.id]));
    let mut client = server.connect("/live").await;
    client.say(&subscribe(&[&slow, &other])).await;
    client.say(&json!({ "unsubscribe": [slow.id.to_string(), other.id.to_string()] })).await;
    client.say(&subscribe(&[&other])).await;
    client.is_silent().await;
    store.held_up.send_modify(HashSet::clear);
    assert_eq!(client.frame().await["poll_id"], other.id.to_string());
    client.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_changes_its_mind_has_no_more_and_more_begun_for_it() {
    let (server, store) = start_over_held_up_store().await;
    let unknown: Vec<PollId> = (0..201).map(|_| PollId::new(SystemClock.now())).collect();
    store.held_up.send_modify(|held_up| held_up.extend(unknown.iter().copied()));
    let mut client = server.connect("/live").await;
    for some in unknown.chunks(100) {
        let some: Vec<String> = some.iter().map(PollId::to_string).collect();
        client.say(&json!({ "subscribe": some })).await;
        client.say(&json!({ "unsubscribe": some })).await;
    }
    let refused = client.frame().await;
    assert_eq!((&refused["status"], &refused["poll_id"]), (&json!(503), &json!(unknown[200].to_string())));
    client.is_silent().await;
    store.held_up.send_modify(HashSet::clear);
    client.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_the_store_finds_bad_are_bad_messages() {
    let (server, store) = start_over_held_up_store().await;
    let unknown: Vec<PollId> = (0..11).map(|_| PollId::new(SystemClock.now())).collect();
    store.held_up.send_modify(|held_up| held_up.extend(unknown.iter().copied()));
    let mut client = server.connect("/live").await;
    for poll in &unknown {
        client.say(&json!({ "subscribe": [poll.to_string()] })).await;
    }
    client.say(&json!({})).await;
    store.held_up.send_modify(HashSet::clear);
    assert_eq!(client.closed().await, CloseCode::Policy);
}
