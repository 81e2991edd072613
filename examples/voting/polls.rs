//! The polls that are voted in: made, and read.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use polling_core::model::Totals;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::{Answer, Broken, Connection};
use crate::{Failure, failure};

/// A poll as the server shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Poll {
    /// Its id.
    pub id: Uuid,
    /// Options that a vote may name.
    pub max_choices: u8,
    /// Whether a voter may vote anew.
    pub allow_change: bool,
    /// What is counted.
    pub results: Results,
}

/// The results of a poll.
#[derive(Debug, Clone, Deserialize)]
pub struct Results {
    /// Voters with a counted vote.
    pub voters: u64,
    /// In the order of their ids.
    pub options: Vec<PollOption>,
}

/// The results of an option.
#[derive(Debug, Clone, Deserialize)]
pub struct PollOption {
    /// Absent where the results are hidden.
    pub votes: Option<u64>,
}

impl Poll {
    /// What is counted; options whose votes are hidden are left out.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let votes = self.results.options.iter().filter_map(|option| option.votes).collect();
        Totals { voters: self.results.voters, votes }
    }
}

/// A poll to make.
#[derive(Debug, Clone, Serialize)]
pub struct NewPoll {
    /// The question.
    pub question: String,
    /// Texts of the options.
    pub options: Vec<String>,
    /// Options that a vote may name.
    pub max_choices: u8,
    /// Whether a voter may vote anew.
    pub allow_change: bool,
}

impl NewPoll {
    /// A poll with so many options, called by their numbers.
    #[must_use]
    pub fn numbered(question: String, options: u8) -> Self {
        let options = (1..=options).map(|option| format!("Option {option}")).collect();
        Self { question, options, max_choices: 1, allow_change: false }
    }
}

/// Makes a poll.
///
/// # Errors
///
/// No answer came, or a refusal.
pub async fn create(connection: &mut Connection, poll: &NewPoll) -> Result<Poll, Failure> {
    let body = serde_json::to_vec(poll).map_err(|error| failure(format!("a poll cannot be written: {error}")))?;
    send(connection, Method::POST, "/polls", Some(body.into())).await
}

/// Reads a poll.
///
/// # Errors
///
/// No answer came, or another one than the poll.
pub async fn read(connection: &mut Connection, poll: Uuid) -> Result<Poll, Failure> {
    send(connection, Method::GET, &format!("/polls/{poll}"), None).await
}

async fn send(connection: &mut Connection, method: Method, path: &str, body: Option<Bytes>) -> Result<Poll, Failure> {
    let what = format!("{method} {path}");
    let uri = connection.target().path(path)?;
    let answer = connection.send(method, uri, body).await.map_err(|broken| no_answer(&what, &broken))?;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => {
            serde_json::from_slice(&answer.body).map_err(|error| failure(format!("the answer to {what} is not a poll: {error}")))
        }
        _ => Err(unexpected(&what, &answer)),
    }
}

/// Why a request without an answer ends a run.
#[must_use]
pub fn no_answer(what: &str, broken: &Broken) -> Failure {
    match broken {
        Broken::Connection(why) => failure(format!("{what} was not answered: {why}")),
        Broken::Timeout => failure(format!("{what} was not answered in time")),
    }
}

/// Why an answer that cannot be gone on with ends a run.
#[must_use]
pub fn unexpected(what: &str, answer: &Answer) -> Failure {
    failure(format!("{what} was answered by {}: {}", answer.status, String::from_utf8_lossy(&answer.body)))
}
