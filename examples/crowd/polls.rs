//! The polls that are voted in: made, and read.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use polling_core::model::Totals;
use serde::Deserialize;
use uuid::Uuid;

use crate::arguments::Arguments;
use crate::client::{Answer, Broken, Connection};
use crate::plan::Plan;
use crate::{Failure, failure};

/// A poll as the server shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Poll {
    pub(crate) id: Uuid,
    pub(crate) max_choices: u8,
    pub(crate) allow_change: bool,
    pub(crate) results: Results,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Results {
    pub(crate) voters: u64,
    pub(crate) options: Vec<PollOption>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PollOption {
    /// Absent where the results are hidden.
    pub(crate) votes: Option<u64>,
}

impl Poll {
    /// What is counted; options whose votes are hidden are left out.
    pub(crate) fn totals(&self) -> Totals {
        let votes = self.results.options.iter().filter_map(|option| option.votes).collect();
        Totals { voters: self.results.voters, votes }
    }
}

/// Makes as many polls as are asked for, fit for the options and choices of the plan.
pub(crate) async fn create(connection: &mut Connection, arguments: &Arguments, plan: &Plan) -> Result<Vec<Poll>, Failure> {
    let mut polls = Vec::new();
    for number in 1..=arguments.polls {
        let question =
            if arguments.polls == 1 { arguments.question.clone() } else { format!("{} ({number})", arguments.question) };
        let body = serde_json::json!({
            "question": question,
            "options": (1..=plan.options).map(|option| format!("Option {option}")).collect::<Vec<_>>(),
            "max_choices": plan.max_choices.min(plan.options),
            "allow_change": arguments.allow_change,
        });
        polls.push(send(connection, Method::POST, "/polls", Some(body.to_string().into())).await?);
    }
    Ok(polls)
}

/// Reads a poll.
pub(crate) async fn read(connection: &mut Connection, poll: Uuid) -> Result<Poll, Failure> {
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

pub(crate) fn no_answer(what: &str, broken: &Broken) -> Failure {
    match broken {
        Broken::Connection(why) => failure(format!("{what} was not answered: {why}")),
        Broken::Timeout => failure(format!("{what} was not answered in time")),
    }
}

pub(crate) fn unexpected(what: &str, answer: &Answer) -> Failure {
    failure(format!("{what} was answered by {}: {}", answer.status, String::from_utf8_lossy(&answer.body)))
}
