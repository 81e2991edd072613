//! A real process on a real file, killed while 64 voters vote as fast as they can: what was acknowledged is counted, once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::process::{Running, bare};
use crate::sqlite::audit;

const VOTERS: u64 = 64;
/// Kills in one run of the tests. POLLING_KILL_ROUNDS sets another number; 20 were done before a release.
const ROUNDS: u64 = 2;
/// How long the votes before the kill may take, on a machine that has a lot else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A vote as its sender remembers it.
#[derive(Debug, Clone)]
struct Sent {
    voter: String,
    vote_id: Uuid,
    choice: u8,
    receipt: Option<String>,
}

/// Counts votes that were acknowledged, and tells when there are enough of them.
struct Acknowledgements {
    count: AtomicU64,
    enough: u64,
    are_enough: Notify,
}

impl Acknowledgements {
    fn note(&self) {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.enough {
            self.are_enough.notify_one();
        }
    }
}

struct Polling {
    client: Client,
    base: String,
    poll: String,
}

impl Polling {
    /// Sends the vote; the receipt, when it was acknowledged.
    async fn send(&self, sent: &Sent) -> Result<Option<String>, reqwest::Error> {
        let body = json!({"choices": [sent.choice], "voter_id": sent.voter, "vote_id": sent.vote_id});
        let url = format!("{}/polls/{}/vote", self.base, self.poll);
        let answer = self.client.post(url).json(&body).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        assert!(matches!(status, StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE), "{status} {body}");
        Ok(body["receipt"].as_str().map(str::to_owned))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// One voter after the other until the server is gone; now and then one that sends its vote again.
    async fn vote_until_killed(
        self: Arc<Self>,
        seed: u64,
        number: u64,
        sent: Arc<Mutex<Vec<Sent>>>,
        acknowledgements: Arc<Acknowledgements>,
    ) {
        let mut random = StdRng::seed_from_u64(seed * VOTERS + number);
        for count in 0.. {
            let mut vote = Sent {
                voter: format!("voter {seed} {number} {count}"),
                vote_id: Uuid::from_u128(random.random()),
                choice: random.random_range(1..=3),
                receipt: None,
            };
            let mut gone = false;
            for _ in 0..=u32::from(random.random_ratio(1, 10)) {
                match self.send(&vote).await {
                    Ok(receipt) => vote.receipt = vote.receipt.or(receipt),
                    Err(_) => gone = true,
                }
            }
            if vote.receipt.is_some() {
                acknowledgements.note();
            }
            sent.lock().expect("no panic inside").push(vote);
            if gone {
                return;
            }
        }
    }
}

async fn round(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Running::start(&mut bare(folder.path(), &[]));
    let client = Client::new();
    let base = format!("http://{}", server.api);
    let draft = json!({"question": "Which?", "options": ["a", "b", "c"]});
    let created: Value =
        client.post(format!("{base}/polls")).json(&draft).send().await.expect("sent").json().await.expect("JSON");
    let text = |name: &str| created[name].as_str().expect("a text").to_owned();
    let (poll, owner) = (text("id"), text("owner_token"));
    let polling = Arc::new(Polling { client: client.clone(), base, poll: poll.clone() });
    let sent = Arc::new(Mutex::new(Vec::new()));
    let enough = StdRng::seed_from_u64(seed).random_range(200..1500);
    let acknowledgements = Arc::new(Acknowledgements { count: AtomicU64::new(0), enough, are_enough: Notify::new() });
    let vote = |number| {
        tokio::spawn(Arc::clone(&polling).vote_until_killed(seed, number, Arc::clone(&sent), Arc::clone(&acknowledgements)))
    };
    let voters: Vec<_> = (0..VOTERS).map(vote).collect();
    tokio::time::timeout(PATIENCE, acknowledgements.are_enough.notified()).await.expect("votes are acknowledged");
    server.signal(Signal::KILL);
    for voter in voters {
        voter.await.expect("no panic");
    }
    drop(server);

    let mut server = Running::start(&mut bare(folder.path(), &[]));
    let polling = Polling { client, base: format!("http://{}", server.api), poll };
    let sent = sent.lock().expect("no panic inside").clone();
    let acknowledged: Vec<&Sent> = sent.iter().filter(|vote| vote.receipt.is_some()).collect();
    assert!(acknowledged.len() as u64 >= enough, "only {} votes were acknowledged", acknowledged.len());
    for vote in &acknowledged {
        let receipt = vote.receipt.as_deref().expect("acknowledged");
        assert_eq!(polling.get(&format!("/receipts/{receipt}")).await["status"], "counted", "{vote:?}");
    }
    let counted = polling.get(&format!("/polls/{}", polling.poll)).await["results"]["voters"].as_u64().expect("a number");
    assert!((acknowledged.len() as u64..=sent.len() as u64).contains(&counted), "{counted} of {}", sent.len());
    // Whoever does not know sends the same vote again, and so does everybody else.
    for vote in &sent {
        let receipt = polling.send(vote).await.expect("an answer").expect("acknowledged");
        assert_eq!(polling.get(&format!("/receipts/{receipt}")).await["status"], "counted", "{vote:?}");
    }
    let results = polling.get(&format!("/polls/{}", polling.poll)).await["results"].clone();
    for choice in 1..=3_u8 {
        let expected = sent.iter().filter(|vote| vote.choice == choice).count();
        assert_eq!(results["options"][usize::from(choice) - 1]["votes"], expected, "option {choice}");
    }
    assert_eq!(sent.iter().map(|vote| &vote.voter).collect::<HashSet<_>>().len(), sent.len());
    let close = polling.client.post(format!("{}/polls/{}/close", polling.base, polling.poll)).bearer_auth(owner);
    assert_eq!(close.send().await.expect("an answer").status(), StatusCode::OK, "the owner token still holds");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    audit(&folder.path().join("polling.db")).await;
    eprintln!(
        "seed {seed}: killed after {enough} acknowledgements, {} acknowledged, {} sent, {counted} counted",
        acknowledged.len(),
        sent.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_is_counted_once() {
    let rounds = std::env::var("POLLING_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for seed in 0..rounds {
        round(seed).await;
    }
}
