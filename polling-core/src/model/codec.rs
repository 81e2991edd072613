//! The wire format of a vote: Protobuf, as `proto/vote.proto` describes it.

use prost::Message;
use thiserror::Error;
use uuid::Uuid;

use super::poll::{OptionId, PollId};
use super::vote::{Choices, Vote, VoteId, VoteKind, VoterKey};
use crate::clock::Timestamp;

/// The major version that this code writes, and the only one that it reads.
pub const MAJOR_VERSION: u32 = 1;
/// The full name of the message in its schema.
pub const MESSAGE_NAME: &str = "polling.votes.v1.Vote";

/// Why a record is not a vote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A newer program wrote it. It must not be set aside: stop and bring a program that can read it.
    #[error("the record has major version {0}, and this program reads version {MAJOR_VERSION}")]
    UnknownMajorVersion(u32),
    /// Nobody can read it: a dead letter.
    #[error("the record is not a vote: {0}")]
    Malformed(String),
}

/// Only the number that every major version keeps in the same place.
#[derive(Clone, PartialEq, Message)]
struct MajorWire {
    #[prost(uint32, tag = "1")]
    major: u32,
}

#[derive(Clone, PartialEq, Message)]
struct VoteWire {
    #[prost(uint32, tag = "1")]
    major: u32,
    #[prost(bytes = "vec", tag = "2")]
    poll: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    voter: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    vote_id: Vec<u8>,
    #[prost(int64, tag = "5")]
    accepted_at: i64,
    #[prost(enumeration = "KindWire", tag = "6")]
    kind: i32,
    #[prost(uint32, repeated, tag = "7")]
    choices: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum KindWire {
    Unspecified = 0,
    Cast = 1,
    Retract = 2,
}

/// Writes a vote.
#[must_use]
pub fn encode(vote: &Vote) -> Vec<u8> {
    let (kind, choices) = match vote.kind {
        VoteKind::Cast(choices) => (KindWire::Cast, choices.iter().map(|option| u32::from(option.get())).collect()),
        VoteKind::Retract => (KindWire::Retract, Vec::new()),
    };
    VoteWire {
        major: MAJOR_VERSION,
        poll: vote.poll.as_uuid().as_bytes().to_vec(),
        voter: vote.voter.0.to_vec(),
        vote_id: vote.id.0.as_bytes().to_vec(),
        accepted_at: vote.accepted_at.as_micros(),
        kind: kind.into(),
        choices,
    }
    .encode_to_vec()
}

/// Reads a vote. Fields that it does not know are ignored.
///
/// # Errors
///
/// See [`DecodeError`]; the two cases ask for different things of the caller.
pub fn decode(bytes: &[u8]) -> Result<Vote, DecodeError> {
    let major = MajorWire::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?.major;
    match major {
        MAJOR_VERSION => {}
        0 => return Err(malformed("it has no major version")),
        newer => return Err(DecodeError::UnknownMajorVersion(newer)),
    }
    let wire = VoteWire::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    let kind = match KindWire::try_from(wire.kind) {
        Ok(KindWire::Cast) => {
            let options: Option<Vec<OptionId>> = wire.choices.iter().map(|&number| OptionId::new(u64::from(number))).collect();
            VoteKind::Cast(options.and_then(Choices::new).ok_or_else(|| malformed("its choices are not a set of options"))?)
        }
        Ok(KindWire::Retract) => VoteKind::Retract,
        Ok(KindWire::Unspecified) | Err(_) => return Err(malformed("its kind is unknown")),
    };
    Ok(Vote {
        poll: uuid(&wire.poll).and_then(PollId::from_uuid).ok_or_else(|| malformed("its poll is no UUID of version 7"))?,
        voter: VoterKey(wire.voter.try_into().map_err(|_| malformed("its voter key has not 16 bytes"))?),
        id: VoteId(uuid(&wire.vote_id).ok_or_else(|| malformed("its vote id is no UUID"))?),
        accepted_at: Timestamp::from_micros(wire.accepted_at).ok_or_else(|| malformed("its time is out of range"))?,
        kind,
    })
}

fn uuid(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok()
}

fn malformed(reason: &str) -> DecodeError {
    DecodeError::Malformed(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN_CAST: &str = "0801121001937b3c5c007000800000000000002a1a1003030303030303030303030303030303221011111111111141118111111111111111\
        28c0c4e9c4f2a2990330013a03010364";
    const GOLDEN_RETRACT: &str = "0801121001937b3c5c007000800000000000002a1a1003030303030303030303030303030303221011111111111141118111111111111111\
        28c0c4e9c4f2a299033002";

    fn vote(kind: VoteKind) -> Vote {
        Vote {
            poll: PollId::parse("01937b3c-5c00-7000-8000-00000000002a").expect("a poll id"),
            voter: VoterKey([3; 16]),
            id: VoteId(Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111)),
            accepted_at: Timestamp::from_micros(1_800_000_000_123_456).expect("in range"),
            kind,
        }
    }

    fn choices(numbers: &[u64]) -> VoteKind {
        VoteKind::Cast(Choices::new(numbers.iter().filter_map(|&number| OptionId::new(number))).expect("a set"))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn version_1_is_written_and_read_as_it_was_shipped() {
        for (vote, golden) in [(vote(choices(&[1, 3, 100])), GOLDEN_CAST), (vote(VoteKind::Retract), GOLDEN_RETRACT)] {
            assert_eq!(hex(&encode(&vote)), golden);
            assert_eq!(decode(&encode(&vote)), Ok(vote));
        }
    }

    #[test]
    fn fields_from_the_future_are_ignored() {
        let vote = vote(choices(&[2]));
        let mut bytes = encode(&vote);
        bytes.extend([0xfa, 0x07, 0x02, 0xff, 0xff]); // field 127, two bytes
        assert_eq!(decode(&bytes), Ok(vote));
    }

    #[test]
    fn a_newer_major_version_is_not_taken_for_rubbish() {
        let bytes = MajorWire { major: 2 }.encode_to_vec();
        assert_eq!(decode(&bytes), Err(DecodeError::UnknownMajorVersion(2)));
    }

    #[test]
    fn rubbish_is_malformed() {
        let vote = vote(choices(&[1]));
        for length in 0..encode(&vote).len() {
            let cut = &encode(&vote)[..length];
            assert!(matches!(decode(cut), Err(DecodeError::Malformed(_))), "cut at {length}");
        }
        let mut wire = VoteWire::decode(&*encode(&vote)).expect("a vote");
        wire.choices = vec![1, 1];
        assert!(matches!(decode(&wire.encode_to_vec()), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn the_committed_schema_describes_what_is_written() {
        let files = protox::compile(["vote.proto"], [concat!(env!("CARGO_MANIFEST_DIR"), "/proto")]).expect("it compiles");
        let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(files).expect("it is sound");
        let message = pool.get_message_by_name(MESSAGE_NAME).expect("the message");
        let vote = vote(choices(&[1, 3, 100]));
        let read = prost_reflect::DynamicMessage::decode(message, &*encode(&vote)).expect("it reads");
        assert_eq!(read.unknown_fields().count(), 0, "a field is missing from the schema");
        let printed = read.to_text_format();
        for field in
            ["major:1", "accepted_at:1800000000123456", "kind:KIND_CAST", "choices:[1,3,100]", "poll:", "voter:", "vote_id:"]
        {
            assert!(printed.contains(field), "{field} is not in {printed}");
        }
    }
}
