//! The body of a vote.

use std::sync::LazyLock;

use bytes::Bytes;
use polling_core::clock::Timestamp;
use polling_core::model::{OwnerKey, Poll, PollDraft};
use serde_json::{Map, Value};

use super::refusal::assert_refused;
use crate::api::fields::{FieldErrors, NAMED_TWICE, NamesTwice};
use crate::api::request_body::VOTE_BYTES_MAX;
use crate::api::vote_body::{VOTER_ID_CHARS_MAX, VoteBody, explain_vote};

/// The polls that are voted in, by options and choices: the smallest, one between, and the largest. Made once, as to make one takes longer
/// than to read a vote.
static POLLS: LazyLock<[Poll; 3]> = LazyLock::new(|| [poll(2, 1), poll(5, 3), poll(100, 100)]);

/// A vote that is taken keeps every rule of the poll, and the way that explains finds nothing wrong with it and reads the same. One
/// that is refused is told why, and rightly.
///
/// # Panics
///
/// When that does not hold.
pub fn vote_body(bytes: &[u8]) {
    if bytes.len() > VOTE_BYTES_MAX {
        return;
    }
    let bytes = Bytes::copy_from_slice(bytes);
    for poll in POLLS.iter() {
        match VoteBody::read(&bytes, poll) {
            Ok(vote) => assert_taken_rightly(&vote, &bytes, poll),
            Err(problem) => {
                assert_refused(&problem, &bytes);
                if problem.errors().iter().any(|error| error.detail == NAMED_TWICE) {
                    let names_twice = serde_json::from_slice::<NamesTwice>(&bytes).is_ok_and(|names| names.0);
                    assert!(names_twice, "no field is named twice");
                }
            }
        }
    }
}

fn poll(options: usize, choices_max: u64) -> Poll {
    let draft = PollDraft {
        question: "?".to_owned(),
        options: (1..=options).map(|number| number.to_string()).collect(),
        max_choices: Some(choices_max),
        ..PollDraft::default()
    };
    draft.into_poll(OwnerKey([0; 32]), Timestamp::MIN).expect("it keeps the rules of polls")
}

fn assert_taken_rightly(vote: &VoteBody<'_>, bytes: &Bytes, poll: &Poll) {
    assert!((1..=usize::from(poll.max_choices)).contains(&vote.choices.len()), "{} choices", vote.choices.len());
    assert!(vote.choices.highest_index() < poll.options.len());
    if let Some(name) = &vote.voter_id {
        assert!((1..=VOTER_ID_CHARS_MAX).contains(&name.0.chars().count()), "a name of {} characters", name.0.chars().count());
    }
    let value: Value = serde_json::from_slice(bytes).expect("what is taken is JSON");
    let mut errors = FieldErrors::default();
    let explained = explain_vote(&value, "", poll, &mut errors);
    assert!(errors.is_empty(), "both ways find the same: {errors:?}");
    assert_eq!(explained.as_ref(), Some(vote));
    let written = Bytes::from(written(vote));
    assert_eq!(VoteBody::read(&written, poll).as_ref(), Ok(vote));
}

/// The vote as a client would send it.
fn written(vote: &VoteBody<'_>) -> String {
    let mut members = Map::new();
    members.insert("choices".to_owned(), vote.choices.to_bytes().into());
    if let Some(name) = &vote.voter_id {
        members.insert("voter_id".to_owned(), (&*name.0).into());
    }
    if let Some(id) = vote.vote_id {
        members.insert("vote_id".to_owned(), id.to_string().into());
    }
    Value::Object(members).to_string()
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_vote_keeps_the_rules_or_is_told_which_it_breaks() {
        replay("vote_body", super::vote_body);
    }
}
