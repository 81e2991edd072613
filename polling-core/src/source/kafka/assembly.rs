//! Records of several partitions on their way into a batch, and what must hold of their offsets. Knows nothing of a client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::checkpoint::{DeadLetter, Entry, Offset, Partition, PartitionBatch, RecordDigest};
use crate::model::codec::{self, DecodeError};

/// Records that one batch may have: what a store applies in a fraction of a second.
pub(super) const BATCH_RECORDS_MAX: usize = 10_000;
/// Bytes that the records of one batch may have, which matters for records that are no votes and much longer.
pub(super) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Records that cannot be read and are set aside before their partition stops: some are an accident, and many a program that writes what
/// this one cannot read, or the wrong topic. What it wrote must not be passed over.
const UNREADABLE_MAX: u32 = 100;
/// Votes that make up for one of them, so that a rare accident never adds up to a stop.
const VOTES_FOR_ONE_UNREADABLE: u32 = 10;

/// Counts the starts of a partition: what an earlier start has read is not yielded after a later one.
pub(super) type Generation = u64;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the batch, or it is one that was read before.
    Fine,
    /// It is not the one that comes next. Read again from where the partition stands, and stop if it comes so again.
    OutOfPlace,
    /// The partition stops here.
    Stop(String),
}

/// A partition that is being read.
#[derive(Debug)]
struct Reading {
    generation: Generation,
    /// The offset of the first of `entries`, or of the record that comes next when there are none.
    first: Offset,
    entries: Vec<Entry>,
    /// Bytes of the records of `entries`.
    bytes: usize,
    /// The record of the last of `entries`.
    newest: Vec<u8>,
    /// What the record before `first` is recognised by, when that is known.
    before: Option<RecordDigest>,
    /// Whether the record before the next one is to be read once more, and must be the same.
    is_compared: bool,
    /// Whether the last record that came was out of place.
    is_suspicious: bool,
    /// The records that could not be read, in votes that have yet to make up for them.
    owed: u32,
    last_progress: Instant,
}

impl Reading {
    fn next(&self) -> Offset {
        self.first.plus(self.entries.len())
    }

    /// What the record before the next one is recognised by, when that is known.
    fn last(&self) -> Option<RecordDigest> {
        if self.entries.is_empty() { self.before } else { Some(RecordDigest::of(&self.newest)) }
    }

    /// The offset to read from: that of the next record, or of the one before it when that is to be compared.
    fn due(&self) -> Offset {
        let next = self.next();
        Offset::new(next.get() - 1).filter(|_| self.is_compared).unwrap_or(next)
    }

    /// Notes that a record could not be read; whether that is one too many.
    const fn owe(&mut self) -> bool {
        self.owed += VOTES_FOR_ONE_UNREADABLE;
        self.owed > UNREADABLE_MAX * VOTES_FOR_ONE_UNREADABLE
    }
}

/// The batch that is being put together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partitions: BTreeMap<Partition, Reading>,
    records: usize,
    bytes: usize,
    /// Sets aside however many records cannot be read.
    pub(super) takes_unreadable: bool,
}

impl Assembly {
    /// Reads a partition from `next` on. `before` is what the record before it is recognised by, when that is known and the record is
    /// still in the log.
    pub(super) fn start(&mut self, partition: Partition, generation: Generation, next: Offset, before: Option<RecordDigest>) {
        self.leave(partition);
        let reading = Reading {
            generation,
            first: next,
            entries: Vec::new(),
            bytes: 0,
            newest: Vec::new(),
            is_compared: before.is_some(),
            before,
            is_suspicious: false,
            owed: 0,
            last_progress: Instant::now(),
        };
        self.partitions.insert(partition, reading);
    }

    /// Reads a partition no more.
    pub(super) fn leave(&mut self, partition: Partition) {
        if let Some(reading) = self.partitions.remove(&partition) {
            self.records -= reading.entries.len();
            self.bytes -= reading.bytes;
        }
    }

    /// The partitions that are read, each with the offset to read from.
    pub(super) fn positions(&self) -> impl Iterator<Item = (Partition, Offset)> {
        self.partitions.iter().map(|(&partition, reading)| (partition, reading.due()))
    }

    /// The partitions that are read, with the offset of the record that comes next, and since when none has come.
    pub(super) fn progress(&self) -> impl Iterator<Item = (Partition, Offset, Instant)> {
        self.partitions.iter().map(|(&partition, reading)| (partition, reading.next(), reading.last_progress))
    }

    /// The offset of the record that comes next, of a partition that is read.
    pub(super) fn next(&self, partition: Partition) -> Option<Offset> {
        self.partitions.get(&partition).map(Reading::next)
    }

    /// Leaves a time in which nothing was to be read out of the time without progress.
    pub(super) fn leave_out(&mut self, pause: Duration) {
        for reading in self.partitions.values_mut() {
            reading.last_progress += pause;
        }
    }

    /// Notes that all was read that there is: what comes next has the whole time before it.
    pub(super) fn note_nothing_to_read(&mut self, partition: Partition) {
        if let Some(reading) = self.partitions.get_mut(&partition) {
            reading.last_progress = Instant::now();
        }
    }

    /// Has the last progress lie further back.
    #[cfg(test)]
    pub(super) fn age(&mut self, time: Duration) {
        for reading in self.partitions.values_mut() {
            reading.last_progress = reading.last_progress.checked_sub(time).expect("the machine runs for longer");
        }
    }

    /// Has the last record of every partition compared when reading begins anew, where there is one to compare with.
    pub(super) fn compare_all(&mut self) {
        for reading in self.partitions.values_mut() {
            reading.is_compared = reading.last().is_some();
        }
    }

    /// Does without the comparison: the record before the next one is gone from the log, as it may.
    pub(super) fn skip_comparison(&mut self, partition: Partition) {
        if let Some(reading) = self.partitions.get_mut(&partition) {
            reading.is_compared = false;
        }
    }

    /// Takes a record.
    ///
    /// Invariant: the offsets of a partition have no hole. A topic of votes is neither compacted nor written in transactions, so no
    /// marker may stand between two votes, and an offset that is missing is a vote that is missing.
    pub(super) fn take(&mut self, partition: Partition, offset: Offset, bytes: &[u8]) -> Verdict {
        let Some(reading) = self.partitions.get_mut(&partition) else { return Verdict::Fine };
        let (next, due) = (reading.next(), reading.due());
        if offset < next {
            if reading.is_compared && offset == due {
                reading.is_compared = false;
                if reading.last() != Some(RecordDigest::of(bytes)) {
                    return Verdict::Stop(format!(
                        "the record at offset {offset} is not the one that was counted: the log is another"
                    ));
                }
            }
            return Verdict::Fine;
        }
        if offset > due {
            if !reading.is_suspicious {
                reading.is_suspicious = true;
                return Verdict::OutOfPlace;
            }
            return Verdict::Stop(format!("records are missing: offset {offset} follows where {due} is due"));
        }
        let entry = match codec::decode(bytes) {
            Ok(vote) => {
                reading.owed = reading.owed.saturating_sub(1);
                Entry::Vote(vote)
            }
            Err(error @ DecodeError::UnknownMajorVersion(_)) => return Verdict::Stop(format!("at offset {offset}: {error}")),
            Err(DecodeError::Malformed(reason)) => {
                if !self.takes_unreadable && reading.owe() {
                    return Verdict::Stop(format!(
                        "at offset {offset}: too many records cannot be read, this one because {reason}; accept-unreadable=true sets \
                         all of them aside"
                    ));
                }
                Entry::DeadLetter(DeadLetter { bytes: bytes.to_vec(), reason })
            }
        };
        reading.entries.push(entry);
        reading.newest.clear();
        reading.newest.extend_from_slice(bytes);
        reading.is_suspicious = false;
        reading.last_progress = Instant::now();
        reading.bytes += bytes.len();
        self.records += 1;
        self.bytes += bytes.len();
        Verdict::Fine
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether the batch takes no more.
    pub(super) const fn is_full(&self) -> bool {
        self.records >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// The batch as it is, each part with the generation that read it.
    pub(super) fn hand_over(&mut self) -> Vec<(Generation, PartitionBatch)> {
        self.records = 0;
        self.bytes = 0;
        let filled = self.partitions.iter_mut().filter(|(_, reading)| !reading.entries.is_empty());
        filled
            .map(|(&partition, reading)| {
                let (first, next, last) = (reading.first, reading.next(), reading.last());
                (reading.first, reading.before, reading.bytes) = (next, last, 0);
                (reading.generation, PartitionBatch { partition, first, entries: std::mem::take(&mut reading.entries), last })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixture::{cast, poll};

    const P: Partition = Partition(3);

    fn offset(number: i64) -> Offset {
        Offset::new(number).expect("not negative")
    }

    fn started(next: i64, last: Option<&[u8]>) -> Assembly {
        let mut assembly = Assembly::default();
        assembly.start(P, 1, offset(next), last.map(RecordDigest::of));
        assembly
    }

    fn part(assembly: &mut Assembly) -> PartitionBatch {
        let mut parts = assembly.hand_over();
        assert_eq!(parts.len(), 1);
        parts.remove(0).1
    }

    #[test]
    fn what_cannot_be_read_is_a_dead_letter_in_its_place() {
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(5), b"rubbish"), Verdict::Fine);
        let part = part(&mut assembly);
        assert_eq!((part.first, part.next()), (offset(5), offset(6)));
        assert!(matches!(&part.entries[..], [Entry::DeadLetter(letter)] if letter.bytes == b"rubbish"));
        assert_eq!(part.last, Some(RecordDigest::of(b"rubbish")));
    }

    #[test]
    fn a_partition_of_rubbish_stops_and_a_rare_accident_does_not() {
        let vote = codec::encode(&cast(&poll(2, |_| {}), 1, 1, &[1]));
        let mut assembly = started(0, None);
        let mut take = |number: i64, bytes: &[u8]| assembly.take(P, offset(number), bytes);
        for number in 0..11 * i64::from(UNREADABLE_MAX) * 3 {
            assert_eq!(take(number, if number % 11 == 0 { b"rubbish" } else { &vote }), Verdict::Fine, "{number}");
        }
        let mut assembly = started(0, None);
        for number in 0..i64::from(UNREADABLE_MAX) {
            assert_eq!(assembly.take(P, offset(number), b"rubbish"), Verdict::Fine);
        }
        let last = offset(UNREADABLE_MAX.into());
        assert!(matches!(assembly.take(P, last, b"rubbish"), Verdict::Stop(alarm) if alarm.contains("accept-unreadable=true")));
        assert_eq!(part(&mut assembly).next(), last, "it is not passed over");
        let mut assembly = started(0, None);
        assembly.takes_unreadable = true;
        assert!((0..1000).all(|number| assembly.take(P, offset(number), b"rubbish") == Verdict::Fine));
    }

    #[test]
    fn a_record_of_a_newer_version_stops_the_partition_behind_what_came_before() {
        let mut assembly = started(0, None);
        assert_eq!(assembly.take(P, offset(0), b""), Verdict::Fine);
        let Verdict::Stop(alarm) = assembly.take(P, offset(1), &[8, 2]) else { panic!("it stops") };
        assert_eq!(alarm, "at offset 1: the record has major version 2, and this program reads version 1");
        assert_eq!(part(&mut assembly).next(), offset(1));
    }

    #[test]
    fn a_hole_stops_the_partition_when_it_is_seen_twice() {
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(7), b"x"), Verdict::OutOfPlace);
        assert_eq!(
            assembly.take(P, offset(7), b"x"),
            Verdict::Stop("records are missing: offset 7 follows where 5 is due".to_owned())
        );
        assert!(assembly.is_empty());
    }

    #[test]
    fn a_record_that_was_out_of_place_once_is_no_hole() {
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(7), b"x"), Verdict::OutOfPlace);
        for number in 5..8 {
            assert_eq!(assembly.take(P, offset(number), b"x"), Verdict::Fine);
        }
        assert_eq!(part(&mut assembly).next(), offset(8));
    }

    #[test]
    fn another_record_where_the_last_one_stood_is_another_log() {
        let mut assembly = started(5, Some(b"the last"));
        assert_eq!(assembly.positions().collect::<Vec<_>>(), [(P, offset(4))]);
        assert!(matches!(assembly.take(P, offset(4), b"another"), Verdict::Stop(_)));
        let mut assembly = started(5, Some(b"the last"));
        assert_eq!(assembly.take(P, offset(4), b"the last"), Verdict::Fine);
        assert!(assembly.is_empty(), "it was counted before");
        assert_eq!(assembly.positions().collect::<Vec<_>>(), [(P, offset(5))]);
    }

    #[test]
    fn the_comparison_is_not_passed_over_and_goes_on_with_what_was_read() {
        let mut assembly = started(5, Some(b"the last"));
        for verdict in [Verdict::OutOfPlace, Verdict::Stop("records are missing: offset 5 follows where 4 is due".to_owned())] {
            assert_eq!(assembly.take(P, offset(5), b"x"), verdict);
        }
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(5), b"x"), Verdict::Fine);
        for is_handed_over in [false, true] {
            assembly.compare_all();
            assert_eq!(assembly.positions().collect::<Vec<_>>(), [(P, offset(5))], "the last record is read once more");
            assert_eq!(assembly.take(P, offset(5), b"x"), Verdict::Fine);
            if !is_handed_over {
                assert_eq!(part(&mut assembly).last, Some(RecordDigest::of(b"x")));
            }
        }
        assembly.compare_all();
        assert!(matches!(assembly.take(P, offset(5), b"y"), Verdict::Stop(_)));
    }

    #[test]
    fn a_partition_that_was_left_leaves_nothing_in_the_batch() {
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(5), b"x"), Verdict::Fine);
        assembly.leave(P);
        assert!(assembly.is_empty() && assembly.hand_over().is_empty());
        assert_eq!(assembly.take(P, offset(6), b"x"), Verdict::Fine);
        assert!(assembly.is_empty(), "nobody reads it");
        let mut assembly = started(5, None);
        assert_eq!(assembly.take(P, offset(5), &[7; BATCH_BYTES_MAX]), Verdict::Fine);
        assert!(assembly.is_full());
        assembly.leave(P);
        assert!(!assembly.is_full(), "it would never be emptied");
    }
}
