//! What a client says on the multiplexed socket.

use polling_core::model::PollId;
use serde::Deserialize;
#[cfg(test)]
use uuid::Uuid;

use super::session::POLLS_MAX;
use crate::api::fields::ObjectOf;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_kind::ProblemKind;

/// A message of a client, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Polls that it wants to watch.
    pub subscribe: Vec<PollId>,
    /// Polls that it does not want to watch any more.
    pub unsubscribe: Vec<PollId>,
    /// Whether it wants to watch the leaderboard; `None`: as before.
    pub leaderboard: Option<bool>,
}

/// What a client wants to watch. Every member is optional and may be null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Request"))]
pub(super) struct Wire {
    /// Polls to watch from now on, each beginning with a snapshot.
    #[cfg_attr(test, schemars(with = "Option<Vec<Uuid>>", length(max = POLLS_MAX)))]
    subscribe: Option<Vec<String>>,
    /// Polls not to watch any more.
    #[cfg_attr(test, schemars(with = "Option<Vec<Uuid>>", length(max = POLLS_MAX)))]
    unsubscribe: Option<Vec<String>>,
    /// Whether to watch the leaderboard.
    leaderboard: Option<bool>,
}

impl Request {
    /// Understands a message.
    ///
    /// # Errors
    ///
    /// `invalid-json`, or `validation` with everything that is wrong.
    pub fn parse(message: &[u8]) -> Result<Self, Problem> {
        let ObjectOf(wire) = serde_json::from_slice::<ObjectOf<Wire>>(message).map_err(|error| {
            let kind = if error.is_data() { ProblemKind::Validation } else { ProblemKind::InvalidJson };
            let form = r#"{"subscribe": ["poll id"], "unsubscribe": ["poll id"], "leaderboard": true}"#;
            Problem::with_detail(kind, format!("a message has the form {form}, with each member optional: {error}"))
        })?;
        let mut errors = Vec::new();
        let subscribe = polls(wire.subscribe, "subscribe", &mut errors);
        let unsubscribe = polls(wire.unsubscribe, "unsubscribe", &mut errors);
        if errors.is_empty() {
            Ok(Self { subscribe, unsubscribe, leaderboard: wire.leaderboard })
        } else {
            Err(Problem::validation(errors))
        }
    }
}

fn polls(ids: Option<Vec<String>>, member: &str, errors: &mut Vec<FieldError>) -> Vec<PollId> {
    let ids = ids.unwrap_or_default();
    if ids.len() > POLLS_MAX {
        errors.push(FieldError::at(format!("/{member}"), format!("must have at most {POLLS_MAX} items")));
        return Vec::new();
    }
    let mut polls = Vec::with_capacity(ids.len());
    for (index, id) in ids.into_iter().enumerate() {
        match PollId::parse(&id) {
            Some(poll) => polls.push(poll),
            None => errors.push(FieldError::at(format!("/{member}/{index}"), "must be the id of a poll")),
        }
    }
    polls
}
