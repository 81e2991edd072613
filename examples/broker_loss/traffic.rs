//! Votes in an open loop: each is sent when it is due, whether or not answers keep up, and again until it is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Uri};
use polling_core::retry::Pauses;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use voting::answer::{Judged, judge};
use voting::client::{Connection, Target};
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::ledger::{Sent, SharedLedger, locked};

/// Votes on their way at once. Beyond it the next one is sent later, and its wait is counted from when it was due.
const IN_FLIGHT_MAX: u32 = 8192;
/// Votes of a run: each is kept with its receipt, some 200 bytes.
const VOTES_MAX: usize = 5_000_000;
/// A `Retry-After` beyond it is cut, so that a run always ends.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// A server, and connections to it that are not in use.
struct Server {
    target: Target,
    /// Where the votes of each poll go.
    paths: Vec<Uri>,
    idle: Mutex<Vec<Connection>>,
}

/// The votes, and where they go.
pub(crate) struct Traffic {
    servers: Vec<Server>,
    rate: u16,
    options: u8,
    resends: f64,
    seed: u64,
    ledger: SharedLedger,
    in_flight: Semaphore,
    /// No vote is due any more.
    is_over: AtomicBool,
    /// Votes that are not known yet are given up.
    is_given_up: AtomicBool,
}

impl Traffic {
    pub(crate) fn new(
        arguments: &Arguments,
        targets: &[Target],
        polls: &[String],
        ledger: SharedLedger,
    ) -> Result<Self, Failure> {
        let server = |target: &Target| {
            let paths = polls.iter().map(|poll| target.path(&format!("/polls/{poll}/vote"))).collect::<Result<_, _>>()?;
            Ok(Server { target: target.clone(), paths, idle: Mutex::default() })
        };
        Ok(Self {
            servers: targets.iter().map(server).collect::<Result<_, Failure>>()?,
            rate: arguments.rate,
            options: arguments.options,
            resends: arguments.resends,
            seed: arguments.seed,
            ledger,
            in_flight: Semaphore::new(IN_FLIGHT_MAX as usize),
            is_over: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        })
    }

    /// Sends votes until [`Self::finish`] is called.
    pub(crate) async fn run(self: Arc<Self>) -> Result<(), Failure> {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let interval = Duration::from_secs(1) / u32::from(self.rate);
        let mut due = Instant::now();
        for turn in 0..VOTES_MAX {
            tokio::time::sleep_until(due.into()).await;
            let Ok(permit) = self.in_flight.acquire().await else { return Ok(()) };
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            permit.forget();
            // The first options are chosen more often: a poll where all come out even looks like a broken one.
            let option = random.random_range(0..self.options).min(random.random_range(0..self.options));
            let vote_id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
            let is_resent = random.random_bool(self.resends);
            let poll = turn % self.servers[0].paths.len();
            let sent = Sent { due, poll, option, vote_id, acknowledged: None };
            let traffic = Arc::clone(&self);
            tokio::spawn(async move {
                traffic.vote(sent, is_resent).await;
                traffic.in_flight.add_permits(1);
            });
            due += interval;
        }
        Err(failure(format!("a run has at most {VOTES_MAX} votes")))
    }

    /// Lets no more votes be due, and waits until all are known, at most so long.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.is_over.store(true, Ordering::Relaxed);
        if tokio::time::timeout(patience, self.in_flight.acquire_many(IN_FLIGHT_MAX)).await.is_err() {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a vote until it is known, then perhaps once more.
    async fn vote(&self, sent: Sent, is_resent: bool) {
        let (poll, vote_id, choice) = (sent.poll, sent.vote_id, sent.option + 1);
        let number = locked(&self.ledger).enter(sent);
        let voter = format!("broker-loss-{}-{number}", self.seed);
        let body = serde_json::json!({ "choices": [choice], "voter_id": voter, "vote_id": vote_id }).to_string();
        let body = Bytes::from(body);
        self.send_until_known(number, number, poll, &body).await;
        if is_resent && locked(&self.ledger).sent()[number].acknowledged.is_some() {
            locked(&self.ledger).note_resend();
            self.send_until_known(number, number + 1, poll, &body).await;
        }
    }

    async fn send_until_known(&self, number: usize, first_server: usize, poll: usize, body: &Bytes) {
        let mut pauses = Pauses::default();
        for server in (0..self.servers.len()).cycle().skip(first_server % self.servers.len()) {
            let answer = self.post(&self.servers[server], poll, body.clone()).await;
            match judge(&answer) {
                Judged::Accepted { receipt, .. } => return locked(&self.ledger).acknowledge(number, receipt),
                Judged::AlreadyVoted => return locked(&self.ledger).refuse(number, "already voted".to_owned()),
                Judged::Refused(why) => return locked(&self.ledger).refuse(number, why),
                Judged::Again(again) => locked(&self.ledger).note_again(again),
            }
            let retry_after = answer.ok().and_then(|answer| answer.retry_after).unwrap_or_default();
            tokio::time::sleep(retry_after.min(RETRY_AFTER_MAX).max(pauses.next_pause())).await;
            if self.is_given_up.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn post(&self, server: &Server, poll: usize, body: Bytes) -> Result<voting::client::Answer, voting::client::Broken> {
        let idle = || server.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut connection = taken.unwrap_or_else(|| Connection::new(server.target.clone()));
        let answer = connection.send(Method::POST, server.paths[poll].clone(), Some(body)).await;
        idle().push(connection);
        answer
    }
}
