//! Sends the plan: a pacer says when votes are due, workers with one connection each send them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Uri};
use polling_core::retry::Pauses;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;
use voting::answer::{Judged, judge};
use voting::client::{Connection, Target};

use crate::plan::Plan;
use crate::score::{Score, Verdict};

/// The pacer sleeps no shorter: at high rates it releases several votes at once rather than burn a core.
const PACER_SLEEP: Duration = Duration::from_micros(100);
/// How often a vote looks whether the one before it of the same voter is answered. Rare, because the plan keeps them apart.
const CHAIN_LOOK: Duration = Duration::from_millis(1);
/// A `Retry-After` beyond it is cut, so that a run always ends.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// A run.
pub(crate) struct Drive {
    pub(crate) plan: Plan,
    /// Where the votes of each poll go.
    pub(crate) paths: Vec<Uri>,
    pub(crate) target: Target,
    pub(crate) connections: u16,
    pub(crate) retry: Duration,
    /// Of so many votes, the receipt of one is kept.
    pub(crate) receipt_stride: usize,
    score: Mutex<Score>,
    answered: AtomicUsize,
    next: AtomicUsize,
    /// A vote was given up, and none had its final answer for as long as it was tried: the rest is not sent.
    is_lost: AtomicBool,
    /// One permit for each vote that is due.
    due: Semaphore,
}

#[derive(Serialize)]
struct VoteBody {
    /// Option ids: numbers in JSON.
    choices: Vec<u8>,
    voter_id: String,
    vote_id: Uuid,
}

/// A vote that is due.
#[derive(Clone, Copy)]
struct Turn {
    index: usize,
    due: Instant,
}

impl Drive {
    pub(crate) fn new(plan: Plan, paths: Vec<Uri>, target: Target, connections: u16, retry: Duration, receipts: u32) -> Self {
        let votes = plan.votes.len();
        Self {
            plan,
            paths,
            target,
            connections,
            retry,
            receipt_stride: votes.div_ceil(receipts.max(1) as usize).max(1),
            score: Mutex::new(Score::new(votes)),
            answered: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            is_lost: AtomicBool::new(false),
            due: Semaphore::new(0),
        }
    }

    pub(crate) fn score(&self) -> MutexGuard<'_, Score> {
        self.score.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many votes have their final answer.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends everything; answers how long it took.
    pub(crate) async fn run(self: &Arc<Self>) -> Duration {
        let start = Instant::now();
        if self.plan.due.seconds(0).is_some() {
            let drive = Arc::clone(self);
            // A thread of its own, because timers of the runtime have a resolution of a millisecond.
            std::thread::spawn(move || drive.pace(start));
        } else {
            self.due.add_permits(self.plan.votes.len());
        }
        let mut workers = JoinSet::new();
        for _ in 0..usize::from(self.connections).min(self.plan.votes.len()) {
            let drive = Arc::clone(self);
            workers.spawn(async move { drive.work(start).await });
        }
        workers.join_all().await;
        start.elapsed()
    }

    fn due_at(&self, index: usize, start: Instant) -> Option<Instant> {
        self.plan.due.seconds(index).map(|seconds| start + Duration::from_secs_f64(seconds))
    }

    fn pace(&self, start: Instant) {
        let mut released = 0;
        while let Some(due) = self.due_at(released, start).filter(|_| released < self.plan.votes.len()) {
            let now = Instant::now();
            if due > now {
                std::thread::sleep((due - now).max(PACER_SLEEP));
                continue;
            }
            self.due.add_permits(1);
            released += 1;
        }
    }

    async fn work(&self, start: Instant) {
        let mut connection = Connection::new(self.target.clone());
        while let Some(turn) = self.next_turn(start).await {
            let votes = &self.plan.votes;
            while votes[turn.index].follows.is_some_and(|before| self.score().verdicts[before].is_none()) {
                if self.is_lost.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(CHAIN_LOOK).await;
            }
            self.score().delays.record(turn.due.elapsed());
            let (verdict, receipt) = self.send(&mut connection, turn.index).await;
            self.note(turn, verdict, receipt);
        }
    }

    async fn next_turn(&self, start: Instant) -> Option<Turn> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.plan.votes.len() {
            return None;
        }
        self.due.acquire().await.ok()?.forget();
        if self.is_lost.load(Ordering::Relaxed) {
            return None;
        }
        Some(Turn { index, due: self.due_at(index, start).unwrap_or_else(Instant::now) })
    }

    /// Sends a vote until it is answered for good or its time is over.
    async fn send(&self, connection: &mut Connection, index: usize) -> (Verdict, Option<String>) {
        let began = Instant::now();
        let mut pauses = Pauses::default();
        let mut maybe_recorded = false;
        let vote = &self.plan.votes[index];
        let body = self.body(index);
        loop {
            let path = self.paths[usize::from(vote.poll)].clone();
            let answer = connection.send(Method::POST, path, Some(body.clone())).await;
            let again = match judge(&answer) {
                Judged::Accepted { receipt, counted: true } => return (Verdict::Counted, Some(receipt)),
                Judged::Accepted { receipt, counted: false } => return (Verdict::Pending, Some(receipt)),
                Judged::AlreadyVoted => return (Verdict::AlreadyVoted, None),
                Judged::Refused(why) => {
                    *self.score().refusals.entry(why).or_default() += 1;
                    return (Verdict::Refused, None);
                }
                Judged::Again(again) => again,
            };
            maybe_recorded |= again.may_be_recorded();
            let retry_after = answer.ok().and_then(|answer| answer.retry_after);
            let pause = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX).max(pauses.next_pause());
            if began.elapsed() + pause > self.retry {
                if self.score().last_final.is_none_or(|last| last < began) {
                    self.is_lost.store(true, Ordering::Relaxed);
                }
                return (if maybe_recorded { Verdict::Unknown } else { Verdict::NotRecorded }, None);
            }
            *self.score().again.entry(again).or_default() += 1;
            tokio::time::sleep(pause).await;
        }
    }

    fn body(&self, index: usize) -> Bytes {
        let vote = &self.plan.votes[index];
        let body =
            VoteBody { choices: vote.choices.to_bytes(), voter_id: self.plan.voters.name(vote.voter), vote_id: vote.vote_id };
        serde_json::to_vec(&body).expect("strings and numbers can be written").into()
    }

    fn note(&self, turn: Turn, verdict: Verdict, receipt: Option<String>) {
        let vote = &self.plan.votes[turn.index];
        let mut score = self.score();
        score.latencies.record(turn.due.elapsed());
        if let Some(receipt) = receipt {
            if turn.index.is_multiple_of(self.receipt_stride) {
                score.receipts.push((turn.index, receipt));
            }
            if vote.poll == 0 && vote.follows.is_none() {
                score.shown_soon.push(turn.due);
            }
        }
        if !matches!(verdict, Verdict::Unknown | Verdict::NotRecorded) {
            score.last_final = Some(Instant::now());
        }
        score.verdicts[turn.index] = Some(verdict);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}
