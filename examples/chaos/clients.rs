//! Voters, from a seed: they vote, vote again, send again what they do not know about, change their minds, and hang up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Uri};
use polling_core::retry::Pauses;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;
use voting::answer::{Again, Judged, judge, judge_batch};
use voting::client::{Broken, Connection, Target};
use voting::history::{Answer, Ballot, Recorder, What};
use voting::{Failure, failure};

/// Requests on their way at once; beyond it the next one waits.
const IN_FLIGHT_MAX: u32 = 2048;
/// Votes of one request of many.
const BATCH: usize = 5;
/// How long a voter waits who hangs up: sometimes before the server has read the vote, sometimes after it has answered.
const HANGS_UP_MS: std::ops::Range<u64> = 0..8;
/// A `Retry-After` beyond it is cut, so that a run always ends.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);
/// Receipts that are kept, and looked up in the end, some 300 bytes each.
const KEPT_MAX: usize = 2_000_000;

/// The two polls of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polls {
    /// Where a vote stands for ever.
    pub(crate) fixed: Uuid,
    /// Where it can be changed and taken back.
    pub(crate) open: Uuid,
    /// How many options they have.
    pub(crate) options: u8,
}

/// A vote that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) ballot: Ballot,
    pub(crate) receipt: String,
}

/// All voters.
pub(crate) struct Clients {
    servers: Vec<Target>,
    polls: Polls,
    rate: u32,
    seed: u64,
    recorder: Arc<Recorder>,
    idle: Vec<Mutex<Vec<Connection>>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    attempts: AtomicU64,
    in_flight: Semaphore,
    is_over: AtomicBool,
    is_given_up: AtomicBool,
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a voter does next.
enum Turn {
    One(Ballot),
    /// Gives up before the answer, and sends it again only later.
    HangsUp(Ballot, Duration),
    Many(Vec<Ballot>),
}

impl Clients {
    pub(crate) fn new(servers: &[Target], polls: Polls, rate: u32, seed: u64, recorder: Arc<Recorder>) -> Self {
        Self {
            servers: servers.to_vec(),
            polls,
            rate,
            seed,
            recorder,
            idle: servers.iter().map(|_| Mutex::default()).collect(),
            acknowledged: Mutex::default(),
            attempts: AtomicU64::new(0),
            in_flight: Semaphore::new(IN_FLIGHT_MAX as usize),
            is_over: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// Votes until [`Self::finish`] is called.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut due = Instant::now();
        for number in 0_u64.. {
            tokio::time::sleep_until(due).await;
            let Ok(permit) = self.in_flight.acquire().await else { return };
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            permit.forget();
            let turn = self.turn(&mut random, number);
            let votes = if let Turn::Many(ballots) = &turn { ballots.len() } else { 1 };
            due += Duration::from_secs(1) / self.rate * u32::try_from(votes).unwrap_or(1);
            let (clients, server) = (Arc::clone(&self), random.random_range(0..self.servers.len()));
            tokio::spawn(async move {
                match turn {
                    Turn::One(ballot) => clients.until_known(server, &[ballot]).await,
                    Turn::Many(ballots) => clients.until_known(server, &ballots).await,
                    Turn::HangsUp(ballot, patience) => {
                        clients.send(server, std::slice::from_ref(&ballot), Some(patience)).await;
                        clients.until_known(server + 1, &[ballot]).await;
                    }
                }
                clients.in_flight.add_permits(1);
            });
        }
    }

    fn turn(&self, random: &mut SmallRng, number: u64) -> Turn {
        let seed = self.seed;
        let choice = random.random_range(1..=self.polls.options);
        let vote_id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
        let poll = if random.random() { self.polls.fixed } else { self.polls.open };
        let new = Ballot { poll, voter: format!("voter-{seed}-{number}"), vote_id, choices: vec![choice] };
        let kind = random.random_range(0..100);
        let earlier = self.earlier(random);
        match (kind, earlier) {
            (0..10, _) => {
                let member = |member: usize| {
                    let vote_id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
                    Ballot { voter: format!("{}-{member}", new.voter), vote_id, ..new.clone() }
                };
                Turn::Many((0..BATCH).map(member).collect())
            }
            (10..18, _) => Turn::HangsUp(new, Duration::from_millis(random.random_range(HANGS_UP_MS))),
            // The same vote once more, as after a lost answer.
            (18..26, Some(earlier)) => Turn::One(earlier),
            // Another vote of the same voter: a duplicate, or a change.
            (26..46, Some(earlier)) => Turn::One(Ballot { vote_id, choices: vec![choice], ..earlier }),
            (46..50, Some(earlier)) if earlier.poll == self.polls.open => {
                Turn::One(Ballot { vote_id, choices: Vec::new(), ..earlier })
            }
            _ => Turn::One(new),
        }
    }

    fn earlier(&self, random: &mut SmallRng) -> Option<Ballot> {
        let acknowledged = locked(&self.acknowledged);
        let place = random.random_range(0..acknowledged.len().max(1));
        acknowledged.get(place).map(|earlier| earlier.ballot.clone())
    }

    /// Lets nobody begin any more, and waits until all is known, at most so long; answers whether it is.
    pub(crate) async fn finish(&self, patience: Duration) -> bool {
        self.is_over.store(true, Ordering::Relaxed);
        let known = tokio::time::timeout(patience, self.in_flight.acquire_many(IN_FLIGHT_MAX)).await.is_ok();
        self.is_given_up.store(true, Ordering::Relaxed);
        known
    }

    /// How many votes were acknowledged so far.
    pub(crate) fn acknowledged_count(&self) -> usize {
        locked(&self.acknowledged).len()
    }

    pub(crate) fn acknowledged(&self) -> Vec<Acknowledged> {
        locked(&self.acknowledged).clone()
    }

    /// Sends votes, and again those that are not known, to one server after the other.
    async fn until_known(&self, first_server: usize, ballots: &[Ballot]) {
        let mut open = ballots.to_vec();
        let mut pauses = Pauses::default();
        for server in first_server.. {
            let (answers, retry_after) = self.send(server % self.servers.len(), &open, None).await;
            let mut answers = answers.into_iter();
            open.retain(|_| matches!(answers.next(), Some(Judged::Again(_))));
            if open.is_empty() || self.is_given_up.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(retry_after.min(RETRY_AFTER_MAX).max(pauses.next_pause())).await;
        }
    }

    /// Sends votes of one poll in one request, and notes what came of each.
    async fn send(&self, server: usize, ballots: &[Ballot], patience: Option<Duration>) -> (Vec<Judged>, Duration) {
        let server = server % self.servers.len();
        let first = self.attempts.fetch_add(ballots.len() as u64, Ordering::Relaxed);
        for (attempt, ballot) in (first..).zip(ballots) {
            self.recorder.note(What::Sent { attempt, server, ballot: ballot.clone() });
        }
        let (answers, retry_after) = match self.exchange(server, ballots, patience).await {
            Ok(answered) => answered,
            Err(Failure(why)) => (vec![Judged::Refused(why); ballots.len()], Duration::ZERO),
        };
        for ((attempt, ballot), judged) in (first..).zip(ballots).zip(&answers) {
            if let Judged::Accepted { receipt, .. } = judged {
                let mut acknowledged = locked(&self.acknowledged);
                if acknowledged.len() < KEPT_MAX {
                    acknowledged.push(Acknowledged { ballot: ballot.clone(), receipt: receipt.clone() });
                }
            }
            self.recorder.note(What::Answered { attempt, answer: known(judged) });
        }
        (answers, retry_after)
    }

    async fn exchange(
        &self,
        server: usize,
        ballots: &[Ballot],
        patience: Option<Duration>,
    ) -> Result<(Vec<Judged>, Duration), Failure> {
        let (method, uri, body) = self.request(server, ballots)?;
        let taken = locked(&self.idle[server]).pop();
        let mut connection = taken.unwrap_or_else(|| Connection::new(self.servers[server].clone()));
        let sending = connection.send(method, uri, body);
        let answer = match patience {
            // Dropped halfway, which closes the connection.
            Some(patience) => tokio::time::timeout(patience, sending).await.unwrap_or(Err(Broken::Timeout)),
            None => sending.await,
        };
        locked(&self.idle[server]).push(connection);
        let retry_after = answer.as_ref().ok().and_then(|answer| answer.retry_after).unwrap_or_default();
        let judged = if ballots.len() == 1 { vec![judge(&answer)] } else { judge_batch(&answer, ballots.len()) };
        Ok((judged, retry_after))
    }

    fn request(&self, server: usize, ballots: &[Ballot]) -> Result<(Method, Uri, Option<Bytes>), Failure> {
        let target = &self.servers[server];
        let [Ballot { poll, voter, vote_id, choices }, ..] = ballots else {
            return Err(failure("a request without votes".to_owned()));
        };
        let body = |ballot: &Ballot| json!({"choices": ballot.choices, "voter_id": ballot.voter, "vote_id": ballot.vote_id});
        match ballots {
            [_] if choices.is_empty() => {
                let path = format!("/polls/{poll}/vote?voter_id={voter}&vote_id={vote_id}");
                Ok((Method::DELETE, target.path(&path)?, None))
            }
            [ballot] => Ok((Method::POST, target.path(&format!("/polls/{poll}/vote"))?, Some(body(ballot).to_string().into()))),
            _ => {
                let votes = json!({"votes": ballots.iter().map(body).collect::<Vec<_>>()});
                Ok((Method::POST, target.path(&format!("/polls/{poll}/votes"))?, Some(votes.to_string().into())))
            }
        }
    }
}

fn known(judged: &Judged) -> Answer {
    match judged {
        Judged::Accepted { receipt, .. } => Answer::Acknowledged { receipt: receipt.clone() },
        Judged::AlreadyVoted => Answer::NotRecorded { why: "already voted".to_owned() },
        Judged::Refused(why) => Answer::NotRecorded { why: why.clone() },
        Judged::Again(again @ (Again::NotRecorded | Again::Limited)) => Answer::NotRecorded { why: again.as_str().to_owned() },
        Judged::Again(again) => Answer::Unknown { why: again.as_str().to_owned() },
    }
}
