//! A store in memory: a real one for a single process that may forget everything when it ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::folding::fold;
use super::settle::{Ballots, Settlement, settle};
use super::{Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError, TallyStore};
use super::{Transitions, fence, history_of};
use crate::checkpoint::{Batch, Checkpoint, DeadLetter, Entry, Partition, Position};
use crate::clock::Timestamp;
use crate::model::{History, HistorySum, OptionId, Outcome, OutcomeCounts, Poll, PollId, PollState, Receipt, Resolution};
use crate::model::{ResultsVisibility, Steps, Tally, Totals, Version, VoterKey, derive_outcome};

/// Dead letters that are kept: the latest, enough to see what goes wrong.
const DEAD_LETTERS_MAX: usize = 1000;

/// Polls, votes and tallies in memory. Grows with every poll and voter and is bounded only by the machine.
#[derive(Debug)]
pub struct MemoryStore {
    epoch: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    polls: BTreeMap<PollId, KeptPoll>,
    ballots: Ballots,
    checkpoint: Checkpoint,
    counts: BTreeMap<Partition, OutcomeCounts>,
    dead_letters: VecDeque<(Position, DeadLetter)>,
}

#[derive(Debug)]
struct KeptPoll {
    poll: Poll,
    archived: bool,
    version: u64,
    totals: Totals,
    /// When each vote and retraction that came to stand was accepted, and where it is in the log, in the order of the batches. Those that
    /// stand no more are left in: ballots keep them, too.
    accepted: Vec<(VoterKey, Position, Timestamp)>,
    /// A close must come after it. `None`: no vote was in time yet.
    last_accepted_at: Option<Timestamp>,
    /// The next change of state that has not had a version of its own yet.
    transition_at: Option<Timestamp>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(1)
    }
}

impl MemoryStore {
    /// An empty store. `epoch` is what versions begin with: give each store of a process's life a greater one.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch, state: Mutex::default() }
    }

    /// The records that could not be read, the latest thousand.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<(Position, DeadLetter)> {
        self.state().dead_letters.iter().cloned().collect()
    }

    /// How the records of each partition ended.
    #[must_use]
    pub fn outcome_counts(&self) -> BTreeMap<Partition, OutcomeCounts> {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between two changes of the state can panic, so a poisoned lock still guards a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self, kept: &KeptPoll) -> PollSnapshot {
        PollSnapshot { poll: kept.poll.clone(), tally: self.tally(kept) }
    }

    fn tally(&self, kept: &KeptPoll) -> Tally {
        let version = Version { epoch: self.epoch, number: kept.version };
        Tally { poll: kept.poll.id, version, totals: kept.totals.clone() }
    }
}

impl State {
    fn live(&self, poll: PollId) -> Option<&KeptPoll> {
        self.polls.get(&poll).filter(|kept| !kept.archived)
    }

    fn live_mut(&mut self, poll: PollId) -> Option<&mut KeptPoll> {
        self.polls.get_mut(&poll).filter(|kept| !kept.archived)
    }

    fn settle(&mut self, batch: &Batch) -> Settlement {
        let polls = &self.polls;
        let takes_votes = |id| polls.get(&id).filter(|kept| !kept.archived).map(|kept| &kept.poll);
        settle(batch, takes_votes, &mut self.ballots)
    }

    /// Adds what the settlement says; answers the polls whose tally changed.
    fn add(&mut self, settlement: &Settlement) -> Vec<PollId> {
        for (&partition, &counts) in &settlement.counts {
            *self.counts.entry(partition).or_default() += counts;
        }
        for (poll, &accepted_at) in &settlement.accepted {
            if let Some(kept) = self.polls.get_mut(poll) {
                kept.last_accepted_at = kept.last_accepted_at.max(Some(accepted_at));
            }
        }
        for (poll, delta) in &settlement.deltas {
            if let Some(kept) = self.polls.get_mut(poll) {
                kept.version += 1;
                kept.totals.voters = kept.totals.voters.saturating_add_signed(delta.voters);
                for (votes, &change) in kept.totals.votes.iter_mut().zip(&delta.votes) {
                    *votes = votes.saturating_add_signed(change);
                }
            }
        }
        settlement.deltas.keys().copied().collect()
    }

    /// Notes when the votes of the batch that stand now were accepted.
    fn note_acceptance(&mut self, batch: &Batch, settlement: &Settlement) {
        for ((position, entry), outcome) in batch.positioned().zip(&settlement.outcomes) {
            let (Entry::Vote(vote), Outcome::Counted) = (entry, outcome) else { continue };
            let standing = self.ballots.get(&(vote.poll, vote.voter)).and_then(|ballot| ballot.current);
            // A repeat of one that counts has its outcome, and not its place.
            if standing.is_some_and(|standing| standing.position == position)
                && let Some(kept) = self.polls.get_mut(&vote.poll)
            {
                kept.accepted.push((vote.voter, position, vote.accepted_at));
            }
        }
    }
}

fn matches(kept: &KeptPoll, filter: &PollFilter, now: Timestamp) -> bool {
    !kept.archived
        && filter.state.is_none_or(|state| kept.poll.state_listed(filter.state_at.unwrap_or(now), now) == state)
        && filter.text.as_ref().is_none_or(|text| fold(&kept.poll.question).contains(&fold(text)))
}

#[async_trait]
impl PollStore for MemoryStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        let kept = KeptPoll {
            poll: poll.clone().awaiting(poll.first_transition()),
            archived: false,
            version: 1,
            totals: Totals::zero(poll.options.len()),
            accepted: Vec::new(),
            last_accepted_at: None,
            transition_at: poll.first_transition(),
        };
        self.state().polls.entry(poll.id).or_insert(kept);
        Ok(())
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        Ok(self.state().live(poll).map(|kept| self.snapshot(kept)))
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.state();
        let from = after.map_or(Unbounded, Excluded);
        let wanted = |(_, kept): (&PollId, &KeptPoll)| matches(kept, filter, now).then(|| self.snapshot(kept));
        Ok(match order {
            CreationOrder::OldestFirst => state.polls.range((from, Unbounded)).filter_map(wanted).take(limit).collect(),
            CreationOrder::NewestFirst => state.polls.range((Unbounded, from)).rev().filter_map(wanted).take(limit).collect(),
        })
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        let state = self.state();
        let mut polls: Vec<&KeptPoll> = state.polls.values().filter(|kept| matches(kept, filter, now)).collect();
        polls.sort_by_key(|kept| (std::cmp::Reverse(kept.totals.voters), kept.poll.id));
        Ok(polls.into_iter().take(limit).map(|kept| kept.poll.id).collect())
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        let mut state = self.state();
        let Some(kept) = state.live_mut(poll) else { return Ok(None) };
        if !kept.poll.has_closed() {
            kept.poll = kept.poll.clone().closed(super::close_time(at, kept.last_accepted_at));
            kept.version += 1;
            kept.transition_at = None;
        }
        Ok(Some(self.snapshot(kept)))
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(kept) = state.live_mut(poll) else { return Ok(false) };
        kept.archived = true;
        kept.version += 1;
        Ok(true)
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        let mut state = self.state();
        let mut transitions = Transitions::default();
        for kept in state.polls.values_mut().filter(|kept| !kept.archived) {
            if kept.transition_at.is_some_and(|due| due <= now) {
                kept.version += 1;
                kept.transition_at = kept.poll.next_transition(now);
                kept.poll = kept.poll.clone().awaiting(kept.transition_at);
                transitions.changed.push(kept.poll.id);
            }
            transitions.next = transitions.next.into_iter().chain(kept.transition_at).min();
        }
        Ok(transitions)
    }
}

#[async_trait]
impl TallyStore for MemoryStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let mut state = self.state();
        fence(batch, &state.checkpoint)?;
        let settlement = state.settle(batch);
        let changed = state.add(&settlement);
        state.note_acceptance(batch, &settlement);
        for part in batch.parts() {
            state.checkpoint.pass(part);
        }
        for (position, entry) in batch.positioned() {
            if let Entry::DeadLetter(letter) = entry {
                if state.dead_letters.len() == DEAD_LETTERS_MAX {
                    state.dead_letters.pop_front();
                }
                state.dead_letters.push_back((position, letter.clone()));
            }
        }
        let tallies = changed.into_iter().filter_map(|poll| state.live(poll).map(|kept| self.tally(kept))).collect();
        Ok(Applied { outcomes: settlement.outcomes, conflicts: settlement.conflicts, tallies })
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        Ok(self.state().checkpoint.clone())
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        let state = self.state();
        Ok(polls.iter().filter_map(|&poll| state.live(poll).map(|kept| self.tally(kept))).collect())
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        let state = self.state();
        let shown = |kept: &&KeptPoll| {
            !kept.archived && kept.poll.results == ResultsVisibility::Always && kept.poll.state_shown(now) == PollState::Open
        };
        let mut leaders: Vec<Leader> = state
            .polls
            .values()
            .filter(shown)
            .flat_map(|kept| {
                kept.totals.votes.iter().enumerate().filter(|&(_, &votes)| votes > 0).filter_map(|(index, &votes)| {
                    Some(Leader { poll: kept.poll.id, option: OptionId::from_index(index)?, votes })
                })
            })
            .collect();
        leaders.sort_by_key(|leader| (std::cmp::Reverse(leader.votes), leader.poll, leader.option));
        leaders.truncate(limit);
        Ok(leaders)
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        let state = self.state();
        let poll = state.polls.get(&receipt.poll).map(|kept| &kept.poll);
        let ballot = state.ballots.get(&(receipt.poll, receipt.voter)).cloned().unwrap_or_default();
        let passed = receipt.position.is_some_and(|position| state.checkpoint.has_passed(position));
        Ok(derive_outcome(poll, &ballot, receipt, passed))
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        let state = self.state();
        let standing = state.live(poll).and_then(|_| state.ballots.get(&(poll, voter))?.current);
        Ok(standing.map(|standing| CountedVote { id: standing.id, choices: standing.choices }))
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        let state = self.state();
        let Some(kept) = state.live(poll) else { return Ok(None) };
        let mut sum = HistorySum::new(steps, kept.poll.options.len());
        for &(voter, position, accepted_at) in &kept.accepted {
            let standing = state.ballots.get(&(poll, voter)).and_then(|ballot| ballot.current);
            if let Some(choices) = standing.filter(|standing| standing.position == position).and_then(|standing| standing.choices)
            {
                sum.add(accepted_at, choices);
            }
        }
        history_of(sum, self.tally(kept)).map(Some)
    }
}
