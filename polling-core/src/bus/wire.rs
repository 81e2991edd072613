//! The wire format of updates: Protobuf, as `proto/update.proto` describes it.

use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use super::{Audience, Update};
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
    /// Beside the updates, because readers that do not know this kind would take an update of it for a loss.
    #[prost(message, repeated, tag = "4")]
    audiences: Vec<AudienceWire>,
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

#[derive(Clone, PartialEq, Message)]
struct AudienceWire {
    #[prost(bytes = "vec", tag = "1")]
    server: Vec<u8>,
    #[prost(uint32, tag = "2")]
    valid_for_ms: u32,
    #[prost(message, repeated, tag = "3")]
    watchers: Vec<WatchersWire>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchersWire {
    #[prost(bytes = "vec", tag = "1")]
    poll: Vec<u8>,
    #[prost(uint32, tag = "2")]
    count: u32,
}

/// What one record of the topic says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// Whether the publisher could not send something before this.
    pub(super) lost: bool,
    pub(super) updates: Vec<Update>,
}

pub(super) fn encode(lost: bool, updates: &[Update]) -> Vec<u8> {
    let mut publication = PublicationWire { major: MAJOR_VERSION, lost, ..PublicationWire::default() };
    for update in updates {
        match to_wire(update) {
            Ok(kind) => publication.updates.push(UpdateWire { kind: Some(kind) }),
            Err(audience) => publication.audiences.push(audience),
        }
    }
    publication.encode_to_vec()
}

/// `None` for what this program cannot read.
pub(super) fn decode(bytes: &[u8]) -> Option<Publication> {
    let wire = PublicationWire::decode(bytes).ok()?;
    if wire.major != MAJOR_VERSION {
        return None;
    }
    let updates: Option<Vec<Update>> = wire.updates.into_iter().map(|update| from_wire(update.kind?)).collect();
    let mut updates = updates?;
    // Nothing depends on them, so one that cannot be read is no loss.
    updates.extend(wire.audiences.into_iter().filter_map(audience).map(Update::Audience));
    Some(Publication { lost: wire.lost, updates })
}

fn audience(wire: AudienceWire) -> Option<Audience> {
    let watchers = wire.watchers.into_iter().map(|watchers| Some((poll_id(&watchers.poll)?, watchers.count)));
    Some(Audience {
        server: Uuid::from_slice(&wire.server).ok()?,
        valid_for: Duration::from_millis(wire.valid_for_ms.into()),
        watchers: watchers.collect::<Option<_>>()?,
    })
}

fn to_wire(update: &Update) -> Result<KindWire, AudienceWire> {
    Ok(match update {
        Update::Tally(Tally { poll, version, totals }) => KindWire::Tally(TallyWire {
            poll: bytes(*poll),
            epoch: version.epoch,
            number: version.number,
            voters: totals.voters,
            votes: totals.votes.clone(),
        }),
        Update::Changed(poll) => KindWire::Changed(bytes(*poll)),
        Update::Progress { partition, next } => KindWire::Progress(ProgressWire { partition: partition.0, next: next.get() }),
        Update::Audience(Audience { server, valid_for, watchers }) => {
            let watchers = watchers.iter().map(|&(poll, count)| WatchersWire { poll: bytes(poll), count });
            return Err(AudienceWire {
                server: server.as_bytes().to_vec(),
                valid_for_ms: u32::try_from(valid_for.as_millis()).unwrap_or(u32::MAX),
                watchers: watchers.collect(),
            });
        }
    })
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

    const AUDIENCE: &str = "222c0a10000000000000000000000000000000071\
        0d8361a150a1001937b3c5c007000800000000000002a10ac02";

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

    /// As readers knew it before there were audiences.
    #[derive(Clone, PartialEq, Message)]
    struct FormerWire {
        #[prost(uint32, tag = "1")]
        major: u32,
        #[prost(bool, tag = "2")]
        lost: bool,
        #[prost(message, repeated, tag = "3")]
        updates: Vec<UpdateWire>,
    }

    fn audience() -> Update {
        let poll = PollId::parse("01937b3c-5c00-7000-8000-00000000002a").expect("a poll id");
        Update::Audience(Audience { server: Uuid::from_u128(7), valid_for: Duration::from_secs(7), watchers: vec![(poll, 300)] })
    }

    #[test]
    fn audiences_are_written_and_read_as_they_were_shipped_and_nothing_to_former_readers() {
        let all: Vec<Update> = updates().into_iter().chain([audience()]).collect();
        let written = encode(true, &all);
        assert_eq!(decode(&written), Some(Publication { lost: true, updates: all }));
        let audience = written.strip_prefix(&*encode(true, &updates())).expect("it comes behind the updates");
        let hex: String = audience.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, AUDIENCE);
        let former = FormerWire::decode(&*written).expect("it reads");
        assert_eq!((former.lost, former.updates.len()), (true, 3));
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
        let all: Vec<Update> = updates().into_iter().chain([audience()]).collect();
        let read = prost_reflect::DynamicMessage::decode(message, &*encode(true, &all)).expect("it reads");
        assert_eq!(read.unknown_fields().count(), 0, "a field is missing from the schema");
        let printed = read.to_text_format();
        let of_updates = ["major:1", "lost:true", "epoch:2", "number:9", "votes:[3,0,256]", "changed:", "partition:11", "next:7"];
        for field in of_updates.into_iter().chain(["server:", "valid_for_ms:7000", "count:300"]) {
            assert!(printed.contains(field), "{field} is not in {printed}");
        }
    }
}
