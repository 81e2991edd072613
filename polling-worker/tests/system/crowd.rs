//! Voters, and what they were told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Client;

/// A vote as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ballot {
    pub(crate) poll: Uuid,
    pub(crate) voter: String,
    pub(crate) id: Uuid,
    /// None of them: the vote is taken back.
    pub(crate) choices: Vec<u8>,
}

impl Ballot {
    pub(crate) fn new(poll: Uuid, voter: impl Into<String>, choice: u8) -> Self {
        Self { poll, voter: voter.into(), id: Uuid::new_v4(), choices: vec![choice] }
    }

    /// Another vote of the same voter.
    pub(crate) fn then(&self, choices: &[u8]) -> Self {
        Self { id: Uuid::new_v4(), choices: choices.to_vec(), ..self.clone() }
    }
}

/// A receipt, and the vote that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) poll: Uuid,
    pub(crate) vote: Uuid,
    pub(crate) receipt: String,
}

/// What came of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged,
    /// The name of the problem, and whether the vote is recorded if it says so.
    Refused(String, Option<String>),
}

/// Everything that was sent and acknowledged.
#[derive(Default)]
pub(crate) struct Crowd {
    sent: Mutex<BTreeMap<Uuid, Ballot>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

/// Makes an open poll with options 1 to `options`.
pub(crate) async fn create_poll(server: &Client, options: usize, allow_change: bool) -> Uuid {
    let texts: Vec<String> = (1..=options).map(|option| format!("Option {option}")).collect();
    let poll = json!({"question": "Which?", "options": texts, "allow_change": allow_change});
    let (status, poll) = server.post("/polls", &poll).await;
    assert_eq!(status, 201, "{poll}");
    poll["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

impl Crowd {
    /// Sends votes of one poll in one request; answers for each.
    pub(crate) async fn cast(&self, server: &Client, ballots: &[Ballot]) -> Vec<Answer> {
        let Some(first) = ballots.first() else { return Vec::new() };
        self.note_sent(ballots);
        let vote = |ballot: &Ballot| json!({"choices": ballot.choices, "voter_id": ballot.voter, "vote_id": ballot.id});
        let body = json!({"votes": ballots.iter().map(vote).collect::<Vec<_>>()});
        let (status, answer) = server.post(&format!("/polls/{}/votes", first.poll), &body).await;
        if status != 202 {
            return vec![refused(&answer); ballots.len()];
        }
        let results = answer["results"].as_array().expect("results");
        assert_eq!(results.len(), ballots.len());
        ballots.iter().zip(results).map(|(ballot, result)| self.answer(ballot, result)).collect()
    }

    /// Sends a vote, or takes one back when it has no choices.
    pub(crate) async fn cast_one(&self, server: &Client, ballot: &Ballot) -> Answer {
        self.note_sent(std::slice::from_ref(ballot));
        let Ballot { poll, voter, id, choices } = ballot;
        let (_, answer) = if choices.is_empty() {
            server.delete(&format!("/polls/{poll}/vote?voter_id={voter}&vote_id={id}")).await
        } else {
            let body = json!({"choices": choices, "voter_id": voter, "vote_id": id});
            server.post(&format!("/polls/{poll}/vote"), &body).await
        };
        self.answer(ballot, &answer)
    }

    fn answer(&self, ballot: &Ballot, answer: &Value) -> Answer {
        let Some(receipt) = answer["receipt"].as_str() else {
            return refused(if answer["problem"].is_object() { &answer["problem"] } else { answer });
        };
        assert_eq!(answer["vote_id"].as_str(), Some(&*ballot.id.to_string()));
        let acknowledged = Acknowledged { poll: ballot.poll, vote: ballot.id, receipt: receipt.to_owned() };
        locked(&self.acknowledged).push(acknowledged);
        Answer::Acknowledged
    }

    fn note_sent(&self, ballots: &[Ballot]) {
        locked(&self.sent).extend(ballots.iter().map(|ballot| (ballot.id, ballot.clone())));
    }

    pub(crate) fn sent(&self) -> BTreeMap<Uuid, Ballot> {
        locked(&self.sent).clone()
    }

    pub(crate) fn acknowledged(&self) -> Vec<Acknowledged> {
        locked(&self.acknowledged).clone()
    }
}

fn refused(problem: &Value) -> Answer {
    let name = problem["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")).unwrap_or("no problem").to_owned();
    Answer::Refused(name, problem["recorded"].as_str().map(str::to_owned))
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
