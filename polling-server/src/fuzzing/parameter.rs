//! Parameters of queries and paths, and the headers that are read by hand.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue, header};
use polling_core::clock::Timestamp;
use polling_core::model::{PollId, PollState, VoteId};

use crate::api::answer::JSON;
use crate::api::cursor::{Cursor, ListQuery};
use crate::api::negotiation::{PREFER, WAIT_MAX, has_current, preferred_wait, require_acceptable};
use crate::api::parameter::{PageLimit, Parameter, SearchText, Sort, VoterId};
use crate::api::problem_kind::ProblemKind;

/// The entity tag of what is asked for.
const TAG: &str = "\"tag\"";

/// Everything that a parameter can be is read within its bounds and prints as what was read; a cursor leads to the place that it
/// is sealed with; and a header that cannot be read is as if it were not there.
///
/// # Panics
///
/// When that does not hold.
pub fn parameter(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        values(text);
        cursors(text);
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        headers(&value);
    }
}

fn values(text: &str) {
    if let Ok(poll) = <PollId as Parameter>::parse(text) {
        assert!(poll.to_string().eq_ignore_ascii_case(text), "{poll} for {text}");
    }
    if let Ok(id) = <VoteId as Parameter>::parse(text) {
        assert!(id.to_string().eq_ignore_ascii_case(text), "{id} for {text}");
    }
    if let Ok(PageLimit(limit)) = PageLimit::parse(text) {
        assert!((1..=100).contains(&limit));
    }
    if let Ok(VoterId(name)) = VoterId::parse(text) {
        assert!((1..=128).contains(&name.chars().count()));
    }
    if let Ok(SearchText(searched)) = SearchText::parse(text) {
        assert!(searched.chars().count() <= 500 && !searched.contains('\0'));
    }
    if let Ok(state) = <PollState as Parameter>::parse(text) {
        assert_eq!(state.as_str(), text);
    }
    if let Some(time) = Timestamp::parse(text) {
        assert!((Timestamp::MIN..=Timestamp::MAX).contains(&time));
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time), "{text}");
    }
}

fn cursors(text: &str) {
    for sort in [Sort::Newest, Sort::Oldest, Sort::Votes] {
        let query = ListQuery { sort, state: None, text: None };
        let Some(cursor) = Cursor::open(text, &query) else { continue };
        assert_eq!(Cursor::open(&cursor.seal(&query), &query), Some(cursor));
        let searching = ListQuery { text: Some("tea".to_owned()), ..query };
        assert_eq!(Cursor::open(text, &searching), None, "it is worth nothing with another filter");
    }
}

fn headers(value: &HeaderValue) {
    let of = |name, before: &[u8]| {
        let value =
            HeaderValue::from_bytes(&[before, value.as_bytes()].concat()).expect("it is a value, and so is what is before it");
        HeaderMap::from_iter([(name, value)])
    };
    let is_text = value.to_str().is_ok();
    assert!(preferred_wait(&of(PREFER, b"")).is_none_or(|wait| wait <= WAIT_MAX));
    assert_eq!(preferred_wait(&of(PREFER, b"wait=5, ")), is_text.then_some(Duration::from_secs(5)), "the first one counts");
    let refused = require_acceptable(&of(header::ACCEPT, b""), JSON).err();
    assert!(refused.is_none_or(|problem| problem.kind() == ProblemKind::NotAcceptable));
    assert!(
        require_acceptable(&of(header::ACCEPT, b"application/json, "), JSON).is_ok(),
        "the first of the most specific counts"
    );
    let is_named = value.as_bytes().windows(TAG.len()).any(|part| part == TAG.as_bytes()) || value.as_bytes().contains(&b'*');
    assert!(!has_current(&of(header::IF_NONE_MATCH, b""), TAG) || is_named, "nobody has it");
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_parameter_is_within_its_bounds() {
        replay("parameter", super::parameter);
    }
}
