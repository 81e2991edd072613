//! A record of the log of votes.

use crate::model::codec::{DecodeError, MAJOR_VERSION, decode, encode};
use crate::model::{OPTIONS_MAX, VoteKind};

/// Bytes of a vote with every option chosen, at most: 3 + 18 + 18 + 18 + 10 + 2 for the fields before the choices, 2 + 100 for those.
const RECORD_BYTES_MAX: usize = 171;
/// A field that no version has: number 127, two bytes.
const FIELD_FROM_THE_FUTURE: [u8; 5] = [0xfa, 0x07, 0x02, 0xff, 0xff];

/// What is read as a vote is one that the model can hold, is written in few bytes, and reads the same again, also beside a field
/// from the future.
///
/// # Panics
///
/// When that does not hold.
pub fn record(bytes: &[u8]) {
    let vote = match decode(bytes) {
        Ok(vote) => vote,
        // Taking rubbish for a newer version would stop the partition, so only a number that is newer may be taken for one.
        Err(DecodeError::UnknownMajorVersion(major)) => return assert!(major > MAJOR_VERSION),
        Err(DecodeError::Malformed(reason)) => return assert!(!reason.is_empty()),
    };
    if let VoteKind::Cast(choices) = vote.kind {
        assert!((1..=OPTIONS_MAX).contains(&choices.len()) && choices.highest_index() < OPTIONS_MAX);
    }
    let written = encode(&vote);
    assert!(written.len() <= RECORD_BYTES_MAX, "{} bytes", written.len());
    assert_eq!(decode(&written), Ok(vote));
    // Of what was written and of what was read alike: the two may differ, as there are many ways to write one message.
    for prefix in [&written, bytes] {
        assert_eq!(decode(&[prefix, &FIELD_FROM_THE_FUTURE].concat()), Ok(vote));
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_record_is_a_vote_or_refused() {
        replay("record", super::record);
    }
}
