//! What the answer to a vote means: it is known, or it has to be sent again.

use std::borrow::Cow;

use hyper::StatusCode;
use serde::Deserialize;

use crate::client::{Answer, Broken};

/// What the voter knows after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// 202: the vote is durable.
    Accepted {
        /// What its outcome can be asked with.
        receipt: String,
        /// Whether it is counted already.
        counted: bool,
    },
    /// 409: the voter had voted before.
    AlreadyVoted,
    /// Any other refusal, in words. Sending it again does not help.
    Refused(String),
    /// Nothing final: it must be sent again under the same vote id.
    Again(Again),
}

/// Why a vote is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// 503 with `recorded: "no"`.
    NotRecorded,
    /// Any other 5xx.
    Unknown,
    /// 429.
    Limited,
    /// No whole answer came.
    Broken,
    /// No answer came in time.
    Timeout,
}

impl Again {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRecorded => "not recorded",
            Self::Unknown => "unknown",
            Self::Limited => "rate limited",
            Self::Broken => "broken connection",
            Self::Timeout => "no answer in time",
        }
    }

    /// Whether the vote may have been recorded all the same.
    #[must_use]
    pub const fn may_be_recorded(self) -> bool {
        !matches!(self, Self::NotRecorded | Self::Limited)
    }
}

#[derive(Deserialize)]
struct Accepted<'a> {
    #[serde(borrow)]
    receipt: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    recorded: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Batch {
    results: Vec<BatchResult>,
}

#[derive(Deserialize)]
struct BatchResult {
    receipt: Option<String>,
    status: String,
    problem: Option<BatchProblem>,
}

#[derive(Deserialize)]
struct BatchProblem {
    #[serde(rename = "type")]
    kind: String,
    recorded: Option<String>,
}

/// Says what the answer to a request with so many votes means for each of them, in order.
#[must_use]
pub fn judge_batch(answer: &Result<Answer, Broken>, votes: usize) -> Vec<Judged> {
    let Some(taken) = answer.as_ref().ok().filter(|answer| answer.status == StatusCode::ACCEPTED) else {
        return vec![judge(answer); votes];
    };
    match serde_json::from_slice::<Batch>(&taken.body) {
        Ok(batch) if batch.results.len() == votes => batch.results.into_iter().map(BatchResult::judge).collect(),
        _ => vec![Judged::Refused("an answer of 202 that cannot be read".to_owned()); votes],
    }
}

impl BatchResult {
    fn judge(self) -> Judged {
        match (self.receipt, self.problem) {
            (Some(receipt), _) => Judged::Accepted { receipt, counted: self.status == "counted" },
            (None, Some(problem)) => match problem.recorded.as_deref() {
                Some("no") => Judged::Again(Again::NotRecorded),
                Some(_) => Judged::Again(Again::Unknown),
                None if problem.kind.ends_with("/already-voted") => Judged::AlreadyVoted,
                None => Judged::Refused(problem.kind),
            },
            (None, None) => Judged::Refused(self.status),
        }
    }
}

/// Says what the answer to a vote means.
#[must_use]
pub fn judge(answer: &Result<Answer, Broken>) -> Judged {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Broken::Connection(_)) => return Judged::Again(Again::Broken),
        Err(Broken::Timeout) => return Judged::Again(Again::Timeout),
    };
    if answer.status == StatusCode::ACCEPTED {
        return match serde_json::from_slice::<Accepted<'_>>(&answer.body) {
            Ok(accepted) => Judged::Accepted { counted: accepted.status == "counted", receipt: accepted.receipt.into_owned() },
            Err(_) => Judged::Refused("an answer of 202 that cannot be read".to_owned()),
        };
    }
    let problem = serde_json::from_slice::<Problem<'_>>(&answer.body);
    let problem = problem.unwrap_or(Problem { kind: None, recorded: None });
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => Judged::Again(Again::Limited),
        status if status.is_server_error() => {
            Judged::Again(if problem.recorded.as_deref() == Some("no") { Again::NotRecorded } else { Again::Unknown })
        }
        StatusCode::CONFLICT if problem.kind.as_deref().is_some_and(|kind| kind.ends_with("/already-voted")) => {
            Judged::AlreadyVoted
        }
        status => Judged::Refused(problem.kind.map_or_else(|| status.to_string(), |kind| format!("{status} {kind}"))),
    }
}
