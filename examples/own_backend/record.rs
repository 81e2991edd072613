//! What a line of the journal says. Votes stand in it in the wire format of the crate, which is kept readable for ever.

use polling_core::checkpoint::{Batch, DeadLetter, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use polling_core::clock::Timestamp;
use polling_core::model::codec::{decode, encode};
use polling_core::model::{OwnerKey, Poll, PollId, PollParts, ResultsVisibility};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A change of the store. Replaying the changes in order comes to the same store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Create(PollRecord),
    Close { poll: Uuid, at: i64 },
    Archive { poll: Uuid },
    Transition { now: i64 },
    Apply(Vec<PartRecord>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PollRecord {
    id: Uuid,
    question: String,
    options: Vec<String>,
    max_choices: u8,
    allow_change: bool,
    results: String,
    opens_at: Option<i64>,
    closes_at: Option<i64>,
    owner: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    partition: u32,
    first: i64,
    entries: Vec<EntryRecord>,
    /// What the last of them is recognised by, where the log keeps its records.
    last: Option<[u8; 16]>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EntryRecord {
    Vote(Vec<u8>),
    DeadLetter { bytes: Vec<u8>, reason: String },
}

/// Reads a point in time.
pub(crate) fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_micros(micros)
}

/// Reads a poll's identifier.
pub(crate) fn poll_id(uuid: Uuid) -> Option<PollId> {
    PollId::from_uuid(uuid)
}

impl PollRecord {
    pub(crate) fn of(poll: &Poll) -> Self {
        Self {
            id: poll.id.as_uuid(),
            question: poll.question.clone(),
            options: poll.options.clone(),
            max_choices: poll.max_choices,
            allow_change: poll.allow_change,
            results: poll.results.as_str().to_owned(),
            opens_at: poll.opens_at.map(Timestamp::as_micros),
            closes_at: poll.closes_at.map(Timestamp::as_micros),
            owner: poll.owner.0,
        }
    }

    pub(crate) fn read(self) -> Option<Poll> {
        Poll::from_parts(PollParts {
            id: poll_id(self.id)?,
            question: self.question,
            options: self.options,
            max_choices: self.max_choices,
            allow_change: self.allow_change,
            results: ResultsVisibility::parse(&self.results)?,
            opens_at: self.opens_at.and_then(time),
            closes_at: self.closes_at.and_then(time),
            owner: OwnerKey(self.owner),
        })
    }
}

/// The parts of a batch.
pub(crate) fn parts_of(batch: &Batch) -> Vec<PartRecord> {
    let part = |part: &PartitionBatch| PartRecord {
        partition: part.partition.0,
        first: part.first.get(),
        entries: part.entries.iter().map(entry_of).collect(),
        last: part.last.map(|last| last.0),
    };
    batch.parts().iter().map(part).collect()
}

fn entry_of(entry: &Entry) -> EntryRecord {
    match entry {
        Entry::Vote(vote) => EntryRecord::Vote(encode(vote)),
        Entry::DeadLetter(letter) => EntryRecord::DeadLetter { bytes: letter.bytes.clone(), reason: letter.reason.clone() },
    }
}

/// The batch with these parts.
pub(crate) fn read_batch(parts: Vec<PartRecord>) -> Option<Batch> {
    let parts: Option<Vec<PartitionBatch>> = parts.into_iter().map(read_part).collect();
    Batch::new(parts?)
}

fn read_part(part: PartRecord) -> Option<PartitionBatch> {
    let entries: Option<Vec<Entry>> = part.entries.into_iter().map(read_entry).collect();
    let (first, last) = (Offset::new(part.first)?, part.last.map(RecordDigest));
    Some(PartitionBatch { partition: Partition(part.partition), first, entries: entries?, last })
}

fn read_entry(entry: EntryRecord) -> Option<Entry> {
    Some(match entry {
        EntryRecord::Vote(bytes) => Entry::Vote(decode(&bytes).ok()?),
        EntryRecord::DeadLetter { bytes, reason } => Entry::DeadLetter(DeadLetter { bytes, reason }),
    })
}
