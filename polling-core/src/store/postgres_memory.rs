//! What the counting side remembers between batches: polls that it knows, and which voters have certainly not voted yet.
//!
//! Both only save questions to the database. A poll that was changed since is found out when it is locked, and a voter who has
//! voted after all by the unique key.

use std::collections::HashMap;

use super::voters::Voters;
use crate::checkpoint::{Batch, Entry, Offset, Partition};
use crate::model::{Poll, PollId, VoterKey};

/// Polls that are remembered, at most: some tens of megabytes with the longest texts.
const POLLS_MAX: usize = 10_000;

/// A poll that takes votes, as far as is known.
#[derive(Debug)]
pub(super) struct KnownPoll {
    /// What stands for the poll in the other tables.
    pub(super) number: i64,
    pub(super) poll: Poll,
    /// When it was found without a single vote, by the count of batches.
    found_empty: Option<u64>,
}

/// Since when every batch of a partition was ours.
#[derive(Debug, Clone, Copy)]
struct Watch {
    since: u64,
    next: Offset,
}

/// Lasts as long as a connection: a server that may have gone back in time is never met with what was remembered of another.
#[derive(Debug, Default)]
pub(super) struct Memory {
    polls: HashMap<PollId, KnownPoll>,
    watches: HashMap<Partition, Watch>,
    /// Who has, or may have, a ballot. One who is taken for another costs a question.
    voters: Voters,
    batches: u64,
}

impl Memory {
    /// Notes that a batch begins, whose checkpoints are held.
    pub(super) fn begin(&mut self, batch: &Batch) {
        if self.voters.are_too_many() || self.polls.len() > POLLS_MAX {
            // Which costs a question for every vote in the polls that are known by now.
            *self = Self::default();
        }
        self.batches += 1;
        for part in batch.parts() {
            if self.watches.get(&part.partition).is_none_or(|watch| watch.next != part.first) {
                self.watches.insert(part.partition, Watch { since: self.batches, next: part.first });
            }
        }
    }

    pub(super) fn poll(&self, id: PollId) -> Option<&KnownPoll> {
        self.polls.get(&id)
    }

    /// Learns of a poll while the checkpoints of a batch are held. `is_empty`: no vote of any kind is kept for it.
    pub(super) fn learn(&mut self, number: i64, poll: Poll, is_empty: bool) {
        let found_empty = is_empty.then_some(self.batches);
        self.polls.insert(poll.id, KnownPoll { number, poll, found_empty });
    }

    /// Forgets a poll that was changed.
    pub(super) fn forget(&mut self, id: PollId) {
        self.polls.remove(&id);
    }

    /// Whether this voter has certainly no ballot in the poll: it was empty at a time since which all that came to the
    /// partition of the voter went through here, and this voter was not in it.
    pub(super) fn is_surely_new(&self, partition: Partition, known: &KnownPoll, voter: VoterKey) -> bool {
        self.is_complete(partition, known) && !self.voters.may_contain(known.number, voter)
    }

    fn is_complete(&self, partition: Partition, known: &KnownPoll) -> bool {
        let since = self.watches.get(&partition).map(|watch| watch.since);
        since.is_some_and(|since| known.found_empty.is_some_and(|found_empty| found_empty >= since))
    }

    /// Notes that a batch was committed.
    pub(super) fn committed(&mut self, batch: &Batch) {
        for part in batch.parts() {
            for entry in &part.entries {
                let Entry::Vote(vote) = entry else { continue };
                let Some(known) = self.polls.get(&vote.poll) else { continue };
                if self.is_complete(part.partition, known) {
                    self.voters.insert(known.number, vote.voter);
                }
            }
            if let Some(watch) = self.watches.get_mut(&part.partition) {
                watch.next = part.next();
            }
        }
    }
}
