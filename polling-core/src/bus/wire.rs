//! The wire format of updates: Protobuf, as `proto/update.proto` describes it.

use prost::Message;
use uuid::Uuid;

use super::Update;
use crate::checkpoint::{Offset, Partition};
use crate::model::{PollId, Tally, Totals, Version};

/// The major version that this code writes, and the only one that it reads.
const MAJOR_VERSION: u32 = 1;
/// The full name of the message, for the type header of a record.
pub(super) const MESSAGE_NAME: &str = "polling.updates.v1.Publication";

#[derive(Clone, PartialEq, Message)]
struct PublicationWire {
    #[prost(uint32, tag = "1")]
    major: u32,
    #[prost(bool, tag = "2")]
    lost: bool,
    #[prost(message, repeated, tag = "3")]
    updates: Vec<UpdateWire>,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateWire {
    #[prost(oneof = "KindWire", tags = "1, 2, 3")]
    kind: Option<KindWire>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum KindWire {
    #[prost(message, tag = "1")]
    Tally(TallyWire),
    #[prost(bytes, tag = "2")]
    Changed(Vec<u8>),
    #[prost(message, tag = "3")]
    Progress(ProgressWire),
}

#[derive(Clone, PartialEq, Message)]
struct TallyWire {
    #[prost(bytes = "vec", tag = "1")]
    poll: Vec<u8>,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(uint64, tag = "4")]
    voters: u64,
    #[prost(uint64, repeated, tag = "5")]
    votes: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ProgressWire {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(int64, tag = "2")]
    next: i64,
}

/// What one record of the topic says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// Whether the publisher could not send something before this.
    pub(super) lost: bool,
    pub(super) updates: Vec<Update>,
}

pub(super) fn encode(lost: bool, updates: &[Update]) -> Vec<u8> {
    let updates = updates.iter().map(|update| UpdateWire { kind: Some(to_wire(update)) }).collect();
    PublicationWire { major: MAJOR_VERSION, lost, updates }.encode_to_vec()
}

/// `None` for what this program cannot read.
pub(super) fn decode(bytes: &[u8]) -> Option<Publication> {
    let wire = PublicationWire::decode(bytes).ok()?;
    if wire.major != MAJOR_VERSION {
        return None;
    }
    let updates: Option<Vec<Update>> = wire.updates.into_iter().map(|update| from_wire(update.kind?)).collect();
    Some(Publication { lost: wire.lost, updates: updates? })
}

fn to_wire(update: &Update) -> KindWire {
    match update {
        Update::Tally(Tally { poll, version, totals }) => KindWire::Tally(TallyWire {
            poll: bytes(*poll),
            epoch: version.epoch,
            number: version.number,
            voters: totals.voters,
            votes: totals.votes.clone(),
        }),
        Update::Changed(poll) => KindWire::Changed(bytes(*poll)),
        Update::Progress { partition, next } => KindWire::Progress(ProgressWire { partition: partition.0, next: next.get() }),
    }
}

fn from_wire(kind: KindWire) -> Option<Update> {
    Some(match kind {
        KindWire::Tally(TallyWire { poll, epoch, number, voters, votes }) => {
            let version = Version { epoch, number };
            Update::Tally(Tally { poll: poll_id(&poll)?, version, totals: Totals { voters, votes } })
        }
        KindWire::Changed(poll) => Update::Changed(poll_id(&poll)?),
        KindWire::Progress(ProgressWire { partition, next }) => {
            Update::Progress { partition: Partition(partition), next: Offset::new(next)? }
        }
    })
}

fn bytes(poll: PollId) -> Vec<u8> {
    poll.as_uuid().as_bytes().to_vec()
}

fn poll_id(bytes: &[u8]) -> Option<PollId> {
    PollId::from_uuid(Uuid::from_slice(bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "080110011a240a220a1001937b3c5c007000800000000000002a1002180920ffffffff1f2a0403008002\
        1a12121001937b3c5c007000800000000000002a1a061a04080b1007";

    fn updates() -> Vec<Update> {
        let poll = PollId::parse("01937b3c-5c00-7000-8000-00000000002a").expect("a poll id");
        let totals = Totals { voters: 0x1_ffff_ffff, votes: vec![3, 0, 256] };
        vec![
            Update::Tally(Tally { poll, version: Version { epoch: 2, number: 9 }, totals }),
            Update::Changed(poll),
            Update::Progress { partition: Partition(11), next: Offset::ZERO.plus(7) },
        ]
    }

    #[test]
    fn version_1_is_written_and_read_as_it_was_shipped() {
        let written: String = encode(true, &updates()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, GOLDEN);
        assert_eq!(decode(&encode(true, &updates())), Some(Publication { lost: true, updates: updates() }));
    }

    #[test]
    fn what_cannot_be_read_is_known_as_such() {
        assert_eq!(decode(b"rubbish"), None);
        assert_eq!(decode(&[8, 2]), None, "another major version");
        assert_eq!(decode(&[]), None, "no version");
    }

    #[test]
    fn the_committed_schema_describes_what_is_written() {
        let files = protox::compile(["update.proto"], [concat!(env!("CARGO_MANIFEST_DIR"), "/proto")]).expect("it compiles");
        let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(files).expect("it is sound");
        let message = pool.get_message_by_name(MESSAGE_NAME).expect("the message");
        let read = prost_reflect::DynamicMessage::decode(message, &*encode(true, &updates())).expect("it reads");
        assert_eq!(read.unknown_fields().count(), 0, "a field is missing from the schema");
        let printed = read.to_text_format();
        for field in ["major:1", "lost:true", "epoch:2", "number:9", "votes:[3,0,256]", "changed:", "partition:11", "next:7"] {
            assert!(printed.contains(field), "{field} is not in {printed}");
        }
    }
}
