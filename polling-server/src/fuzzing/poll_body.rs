//! The body of a new poll.

use std::collections::HashSet;

use bytes::Bytes;
use polling_core::clock::Timestamp;
use polling_core::model::{
    OPTION_TEXT_CHARS_MAX, OPTIONS_MAX, OPTIONS_MIN, OwnerKey, Poll, PollParts, PollState, QUESTION_CHARS_MAX,
};

use super::refusal::assert_refused;
use crate::api::poll_body::read_poll;
use crate::api::request_body::POLL_BYTES_MAX;

/// A time in the years of which a body is likely to speak: 2027-01-15.
const NOW: i64 = 1_800_000_000_000_000;

/// A poll that is made keeps every rule of the model, so that a store can keep it and read it again. One that is refused is told why.
///
/// # Panics
///
/// When that does not hold.
pub fn poll_body(bytes: &[u8]) {
    if bytes.len() > POLL_BYTES_MAX {
        return;
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let now = Timestamp::from_micros(NOW).expect("it is in range");
    match read_poll(&bytes, OwnerKey([7; 32]), now) {
        Ok(poll) => assert_made_rightly(&poll, now),
        Err(problem) => assert_refused(&problem, &bytes),
    }
}

fn assert_made_rightly(poll: &Poll, now: Timestamp) {
    assert_text(&poll.question, QUESTION_CHARS_MAX);
    assert!((OPTIONS_MIN..=OPTIONS_MAX).contains(&poll.options.len()), "{} options", poll.options.len());
    poll.options.iter().for_each(|text| assert_text(text, OPTION_TEXT_CHARS_MAX));
    assert_eq!(poll.options.iter().collect::<HashSet<_>>().len(), poll.options.len(), "two options are the same");
    assert!((1..=poll.options.len()).contains(&usize::from(poll.max_choices)), "{} choices", poll.max_choices);
    assert_ne!(poll.state(now), PollState::Closed, "nobody could ever vote");
    if let (Some(opens_at), Some(closes_at)) = (poll.opens_at, poll.closes_at) {
        assert!(opens_at < closes_at);
    }
    let kept: PollParts = (**poll).clone();
    assert_eq!(Poll::from_parts(kept).as_ref(), Some(poll));
}

fn assert_text(text: &str, chars_max: usize) {
    assert!((1..=chars_max).contains(&text.chars().count()), "{} characters", text.chars().count());
    assert!(text == text.trim() && !text.contains('\0'), "{text:?}");
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_poll_keeps_the_rules_or_is_told_which_it_breaks() {
        replay("poll_body", super::poll_body);
    }
}
