//! A message of a client on the socket for several polls.

use polling_core::model::PollId;
use serde_json::{Value, json};

use crate::api::problem_kind::ProblemKind;
use crate::live::frame::error_frame;
use crate::live::handshake::MESSAGE_BYTES_MAX;
use crate::live::message::Request;
use crate::live::session::POLLS_MAX;

/// Bytes of an answer to a message, at most: the message itself where an error repeats it, and an error of a hundred bytes for each
/// identifier that is none, of which two lists may be full.
const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX + 2 * POLLS_MAX * 100;

/// A message that is understood asks for no more polls than a socket may watch, and is understood the same when it is written anew. Any
/// other is answered by a frame that is JSON, and no amplifier.
///
/// # Panics
///
/// When that does not hold.
pub fn live_message(bytes: &[u8]) {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return;
    }
    match Request::parse(bytes) {
        Ok(request) => {
            assert!(request.subscribe.len() <= POLLS_MAX && request.unsubscribe.len() <= POLLS_MAX);
            assert_eq!(Request::parse(written(&request).as_bytes()), Ok(request));
        }
        Err(problem) => {
            assert!(matches!(problem.kind(), ProblemKind::InvalidJson | ProblemKind::Validation), "{problem:?}");
            let frame = error_frame(&problem, None);
            assert!(frame.text.len() <= ANSWER_BYTES_MAX, "{} bytes for {}", frame.text.len(), bytes.len());
            let read: Value = serde_json::from_str(&frame.text).expect("a frame is JSON");
            assert_eq!(read["type"], "error");
        }
    }
}

/// The message as a client would send it.
fn written(request: &Request) -> String {
    let ids = |polls: &[PollId]| polls.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "subscribe": ids(&request.subscribe),
        "unsubscribe": ids(&request.unsubscribe),
        "leaderboard": request.leaderboard,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_message_is_understood_or_answered() {
        replay("live_message", super::live_message);
    }
}
