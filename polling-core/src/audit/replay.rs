//! Counts a log once more, apart from any store, as far as what it still has can tell. Pure.
//!
//! The votes of a voter are independent of everybody else's, so they are gathered and decided voter by voter. Of a log that is too long
//! to be held, the voters are divided into rounds, in each of which the whole log is read and those of the round are gathered.
//!
//! What cannot be told is not guessed: a record whose outcome depends on what is gone from the log, on the moment in which a poll was
//! archived, or on the order of two partitions, is in doubt. A count that is kept must then lie between what is certain and that with all
//! that is in doubt.

use std::collections::{BTreeMap, BTreeSet};

use super::Ledger;
use crate::checkpoint::{Batch, Entry, Offset, Partition, PartitionBatch};
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{OutcomeCounts, PollId, Totals, Vote, VoterKey};
use crate::store::settle::{Ballots, settle};

/// What the records of a partition come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Records that were read.
    pub(super) records: u64,
    /// Outcomes that are certain.
    pub(super) certain: OutcomeCounts,
    /// Records that may have any outcome.
    pub(super) doubtful: u64,
}

/// A vote that waits for the others of its voter.
#[derive(Debug, Clone, Copy)]
struct Gathered {
    poll: PollId,
    voter: VoterKey,
    partition: Partition,
    offset: Offset,
    vote: Vote,
}

/// A log that is being counted.
pub(super) struct Replay<'a> {
    ledger: &'a Ledger,
    /// All votes of the polls created from then on are in the log; `None`: of no poll.
    complete_from: Option<Timestamp>,
    rounds: u64,
    round: u64,
    gathered: Vec<Gathered>,
    partitions: BTreeMap<Partition, Replayed>,
    totals: BTreeMap<PollId, Totals>,
    /// Polls of which voters have votes in several partitions.
    divided: BTreeSet<PollId>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(ledger: &'a Ledger, complete_from: Option<Timestamp>, rounds: u64) -> Self {
        Self {
            ledger,
            complete_from,
            rounds: rounds.max(1),
            round: 0,
            gathered: Vec::new(),
            partitions: BTreeMap::new(),
            totals: BTreeMap::new(),
            divided: BTreeSet::new(),
        }
    }

    /// Whether all votes of a poll can be told from the log, and count as the poll is now.
    fn is_complete(&self, poll: PollId, archived: bool) -> bool {
        !archived && self.complete_from.is_some_and(|from| poll.created_at() >= from)
    }

    /// Takes a record of a partition, in the order of its offsets.
    ///
    /// # Errors
    ///
    /// When a newer program has written it.
    pub(super) fn take(&mut self, partition: Partition, offset: Offset, bytes: &[u8]) -> Result<(), DecodeError> {
        let decoded = codec::decode(bytes);
        let is_of_this_round = decoded.as_ref().map_or(self.round == 0, |vote| self.is_of_this_round(vote.voter));
        if !is_of_this_round {
            return Ok(());
        }
        let replayed = self.partitions.entry(partition).or_default();
        replayed.records += 1;
        match decoded {
            Ok(vote) => match self.ledger.polls.get(&vote.poll) {
                None if self.ledger.is_whole => replayed.certain.invalid += 1,
                // Nobody has asked for it.
                None => replayed.doubtful += 1,
                Some(kept) if self.is_complete(vote.poll, kept.archived) => {
                    self.gathered.push(Gathered { poll: vote.poll, voter: vote.voter, partition, offset, vote });
                }
                Some(_) => self.partitions.entry(partition).or_default().doubtful += 1,
            },
            Err(DecodeError::Malformed(_)) => replayed.certain.invalid += 1,
            Err(error @ DecodeError::UnknownMajorVersion(_)) => return Err(error),
        }
        Ok(())
    }

    /// Keys of voters are as good as random, so the rounds are alike.
    fn is_of_this_round(&self, voter: VoterKey) -> bool {
        u128::from_be_bytes(voter.0) % u128::from(self.rounds) == u128::from(self.round)
    }

    /// Decides the votes of a round, all of which were taken, and goes on to the next.
    pub(super) fn end_round(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.sort_unstable_by_key(|vote| (vote.poll, vote.voter, vote.partition, vote.offset));
        for votes in gathered.chunk_by(|one, other| (one.poll, one.voter) == (other.poll, other.voter)) {
            self.decide(votes);
        }
        self.round += 1;
    }

    /// Decides the votes of one voter in one poll.
    fn decide(&mut self, votes: &[Gathered]) {
        let (Some(first), Some(last)) = (votes.first(), votes.last()) else { return };
        let Some(kept) = self.ledger.polls.get(&first.poll) else { return };
        if first.partition != last.partition {
            // Which came first cannot be told.
            self.divided.insert(first.poll);
            votes.iter().for_each(|vote| self.partitions.entry(vote.partition).or_default().doubtful += 1);
            return;
        }
        // Where they really stand in the log matters only to who reads rows.
        let entries = votes.iter().map(|gathered| Entry::Vote(gathered.vote)).collect();
        let batch = Batch::single(PartitionBatch { partition: first.partition, first: Offset::ZERO, entries, last: None });
        let settlement = settle(&batch, |_| Some(&kept.poll), &mut Ballots::new());
        for (partition, counts) in settlement.counts {
            self.partitions.entry(partition).or_default().certain += counts;
        }
        let totals = self.totals.entry(first.poll).or_insert_with(|| Totals::zero(kept.poll.options.len()));
        for delta in settlement.deltas.values() {
            // Of all votes of a voter together: one vote or none.
            totals.voters += delta.voters.unsigned_abs();
            totals.votes.iter_mut().zip(&delta.votes).for_each(|(votes, change)| *votes += change.unsigned_abs());
        }
    }

    /// What the records of a partition come to.
    pub(super) fn partition(&self, partition: Partition) -> Replayed {
        self.partitions.get(&partition).copied().unwrap_or_default()
    }

    /// The totals of a poll, when they can be told.
    pub(super) fn totals(&self, poll: PollId) -> Result<Totals, Untold> {
        let kept = self.ledger.polls.get(&poll).ok_or(Untold::Dropped)?;
        if kept.archived {
            return Err(Untold::Archived);
        }
        if !self.is_complete(poll, kept.archived) {
            return Err(Untold::Dropped);
        }
        if self.divided.contains(&poll) {
            return Err(Untold::Divided);
        }
        Ok(self.totals.get(&poll).cloned().unwrap_or_else(|| Totals::zero(kept.poll.options.len())))
    }
}

/// Why the totals of a poll cannot be told from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Untold {
    /// Some of its votes may be gone from the log.
    Dropped,
    /// Votes were invalid from some moment on, which the log does not know.
    Archived,
    /// Voters have votes in several partitions, the order of which is not known.
    Divided,
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::audit::LedgerPoll;
    use crate::conformance::RandomHistory;
    use crate::conformance::fixture::{at, cast, poll, retract};
    use crate::model::{Poll, count};

    fn ledger(polls: &[Poll]) -> Ledger {
        let kept = |poll: &Poll| LedgerPoll { poll: poll.clone(), archived: false, kept: Totals::zero(poll.options.len()) };
        let polls = polls.iter().map(|poll| (poll.id, kept(poll))).collect();
        Ledger { partitions: BTreeMap::new(), polls, is_whole: true }
    }

    /// Each vote in the partition of this number.
    fn replay<'a>(ledger: &'a Ledger, votes: &[(u32, Vote)], complete_from: Option<Timestamp>, rounds: u64) -> Replay<'a> {
        let mut replay = Replay::new(ledger, complete_from, rounds);
        for _ in 0..rounds {
            for (index, (partition, vote)) in votes.iter().enumerate() {
                let taken = replay.take(Partition(*partition), Offset::ZERO.plus(index), &codec::encode(vote));
                taken.expect("it is of this version");
            }
            replay.end_round();
        }
        replay
    }

    #[test]
    fn it_comes_to_what_the_definition_of_counting_says() {
        for seed in 0..50 {
            let history = RandomHistory::new(seed);
            let ledger = ledger(&history.polls);
            let votes: Vec<(u32, Vote)> = history.votes.iter().map(|&vote| (0, vote)).collect();
            let polls = history.polls.iter().map(|poll| (poll.id, poll.clone())).collect();
            let (totals, _) = count(&polls, &history.votes);
            for rounds in [1, 3] {
                let replay = replay(&ledger, &votes, Some(Timestamp::MIN), rounds);
                for (&poll, totals) in &totals {
                    assert_eq!(replay.totals(poll).as_ref(), Ok(totals), "seed {seed}");
                }
                let Replayed { records, certain, doubtful } = replay.partition(Partition(0));
                assert_eq!((records, certain.total(), doubtful), (votes.len() as u64, votes.len() as u64, 0));
            }
        }
    }

    #[test]
    fn voters_in_several_partitions_leave_the_order_open() {
        let (fixed, other) = (poll(2, |_| {}), poll(2, |_| {}));
        let ledger = ledger(&[fixed.clone(), other.clone()]);
        let votes = [(0, cast(&fixed, 1, 1, &[1])), (1, cast(&fixed, 1, 2, &[2])), (1, cast(&other, 1, 3, &[2]))];
        let replay = replay(&ledger, &votes, Some(Timestamp::MIN), 1);
        assert_eq!(replay.totals(fixed.id), Err(Untold::Divided));
        assert_eq!(replay.totals(other.id), Ok(Totals { voters: 1, votes: vec![0, 1] }));
        assert_eq!((replay.partition(Partition(0)).doubtful, replay.partition(Partition(1)).doubtful), (1, 1));
        assert_eq!(replay.partition(Partition(1)).certain, OutcomeCounts { counted: 1, ..OutcomeCounts::default() });
    }

    #[test]
    fn what_is_older_than_the_log_or_archived_is_in_doubt() {
        let (one, archived) = (poll(2, |draft| draft.allow_change = true), poll(2, |_| {}));
        let mut ledger = ledger(&[one.clone(), archived.clone()]);
        ledger.polls.get_mut(&archived.id).expect("it is there").archived = true;
        let votes = [(0, cast(&one, 1, 1, &[1])), (0, retract(&one, 1, 2)), (0, cast(&archived, 1, 3, &[1]))];
        let replayed = replay(&ledger, &votes, Some(Timestamp::MIN), 1);
        assert_eq!((replayed.totals(one.id), replayed.totals(archived.id)), (Ok(Totals::zero(2)), Err(Untold::Archived)));
        assert_eq!(replayed.partition(Partition(0)).doubtful, 1);
        for complete_from in [Some(at(1)), None] {
            let replayed = replay(&ledger, &votes, complete_from, 1);
            assert_eq!(replayed.totals(one.id), Err(Untold::Dropped));
            assert_eq!(replayed.partition(Partition(0)).doubtful, 3);
        }
    }
}
