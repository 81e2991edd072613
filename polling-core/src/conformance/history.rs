//! Random histories of votes, and holding a store against the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::StoreUnderTest;
use super::fixture::{NOW, at, batch, poll, vote_id, voter};
use crate::checkpoint::{Batch, Offset, Partition, Position};
use crate::model::{Choices, OptionId, Outcome, Poll, PollId, Receipt, Resolution, Steps, Totals, Vote, VoteKind, count};

/// Polls and votes at random, the same for the same seed: few voters and few vote ids, so that everything collides.
#[derive(Debug)]
pub struct RandomHistory {
    /// Polls of every kind.
    pub polls: Vec<Poll>,
    /// Votes in the order of the log: counted, duplicate, changed, retracted, repeated, late and invalid ones.
    pub votes: Vec<Vote>,
    seed: u64,
}

impl RandomHistory {
    /// The history with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let polls = vec![
            poll(2, |_| {}),
            poll(5, |draft| draft.max_choices = Some(3)),
            poll(3, |draft| draft.allow_change = true),
            poll(100, |draft| {
                draft.max_choices = Some(100);
                draft.allow_change = true;
                draft.opens_at = Some(at(10));
                draft.closes_at = Some(at(60));
            }),
        ];
        let votes = (0..random.random_range(1..400_u64)).map(|step| random_vote(&mut random, &polls, at(step / 4))).collect();
        Self { polls, votes, seed }
    }

    /// The votes cut into batches of one partition at random places.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        let mut cuts = StdRng::seed_from_u64(self.seed);
        let mut batches = Vec::new();
        let mut from = 0;
        while from < self.votes.len() {
            let until = (from + cuts.random_range(1..40)).min(self.votes.len());
            batches.push(batch(from as u64, &self.votes[from..until]));
            from = until;
        }
        batches
    }

    /// Which votes ask for something else than the first vote with their id, ascending.
    #[must_use]
    pub fn conflicts(&self) -> Vec<usize> {
        let polls = self.polls.iter().map(|poll| (poll.id, poll.clone())).collect();
        let (_, resolutions) = count(&polls, &self.votes);
        let asks_otherwise = |index: &usize| resolutions[*index].conflicts_with(self.votes[*index].kind);
        (0..self.votes.len()).filter(asks_otherwise).collect()
    }
}

/// A vote for one of the polls, accepted at `now`, as likely to collide with another as not.
#[must_use]
pub fn random_vote(random: &mut StdRng, polls: &[Poll], now: crate::clock::Timestamp) -> Vote {
    let poll = &polls[random.random_range(0..polls.len())];
    let kind = if random.random_ratio(1, 6) {
        VoteKind::Retract
    } else {
        // Sometimes one option or one choice more than the poll has.
        let highest = (poll.options.len() as u64 + 1).min(100);
        let one_more = usize::from(random.random_ratio(1, 10));
        let wanted = random.random_range(1..=usize::from(poll.max_choices).min(4) + one_more);
        let mut options: Vec<u64> = (0..wanted).map(|_| random.random_range(1..=highest)).collect();
        options.sort_unstable();
        options.dedup();
        let choices = Choices::new(options.into_iter().filter_map(OptionId::new));
        choices.map_or(VoteKind::Retract, VoteKind::Cast)
    };
    let number = random.random_range(0..12);
    Vote { poll: poll.id, voter: voter(number), id: vote_id(number * 100 + random.random_range(0..6)), accepted_at: now, kind }
}

/// Holds the store against the oracle: `votes` are all that were applied, in the order of partition 0 from offset 0 on.
///
/// # Panics
///
/// When a tally, a receipt or the checkpoint differs from what counting the whole history says.
pub async fn assert_equals_the_oracle(store: &StoreUnderTest, votes: &[Vote]) {
    let mut polls: BTreeMap<PollId, Poll> = BTreeMap::new();
    for vote in votes {
        if let Some(snapshot) = store.polls.read(vote.poll).await.expect("the poll is read") {
            polls.insert(vote.poll, snapshot.poll);
        }
    }
    let (totals, resolutions) = count(&polls, votes);
    let ids: Vec<PollId> = polls.keys().copied().collect();
    let tallies = store.tallies.tallies(&ids).await.expect("the tallies are read");
    let kept: BTreeMap<PollId, _> = tallies.into_iter().map(|tally| (tally.poll, tally.totals)).collect();
    assert_eq!(kept, totals, "the tallies are those of the whole history");
    for poll in polls.values() {
        for width in [Duration::from_micros(1), Duration::from_secs(7), Duration::from_secs(3600)] {
            let steps = Steps::new(NOW, width, 9).expect("sound steps");
            let history = store.tallies.history(poll.id, steps).await.expect("the history is read").expect("the poll exists");
            assert_eq!(history.points, growth(poll, votes, &resolutions, steps), "the history in steps of {width:?}");
            assert_eq!(history.points.last(), Some(&totals[&poll.id]), "the history ends with the tally");
        }
    }
    let checkpoint = store.tallies.checkpoint().await.expect("the checkpoint is read");
    assert_eq!(checkpoint.next(Partition(0)), Offset::ZERO.plus(votes.len()), "every record was applied, and no other");
    for (index, (vote, expected)) in votes.iter().zip(resolutions).enumerate() {
        let position = Position { partition: Partition(0), offset: Offset::ZERO.plus(index) };
        let receipt = Receipt::of(vote, Some(position));
        let resolution = store.tallies.outcome(&receipt).await.expect("the outcome is read");
        assert_eq!(resolution, Some(expected), "the receipt of record {index}: {vote:?}");
    }
}

/// The totals of the votes that count in the end, at the end of each step: the definition, written for reading and not for speed.
fn growth(poll: &Poll, votes: &[Vote], resolutions: &[Resolution], steps: Steps) -> Vec<Totals> {
    let mut seen = BTreeSet::new();
    let counted = votes.iter().zip(resolutions).filter(|(vote, resolution)| {
        // A repeat has the outcome of the first, and is not counted with it.
        let is_first = seen.insert((vote.poll, vote.voter, vote.id));
        vote.poll == poll.id && is_first && resolution.outcome == Outcome::Counted
    });
    let counted: Vec<(Choices, usize)> =
        counted.filter_map(|(vote, _)| Some((vote.kind.choices()?, steps.find(vote.accepted_at)))).collect();
    let at_the_end_of = |step| {
        let mut totals = Totals::zero(poll.options.len());
        counted.iter().filter(|&&(_, of)| of <= step).for_each(|&(choices, _)| totals.replace(None, Some(choices)));
        totals
    };
    (0..steps.count()).map(at_the_end_of).collect()
}
