//! What must be, by the definition of counting, given what was sent and what is in the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polling_core::clock::Timestamp;
use polling_core::model::{
    Choices, OptionId, Outcome, OwnerKey, Poll, PollDraft, PollId, Vote, VoteId, VoteKind, VoterKey, count,
};
use uuid::Uuid;

use crate::history::{Answer, Ballot, Counted, Event, Progress, Record, RecordedVote, What};

/// A vote, and how its attempts ended.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) ballot: Option<Ballot>,
    pub(super) acknowledged: usize,
    /// Those that may have recorded it, the acknowledged ones among them.
    pub(super) may_be_recorded: usize,
}

/// The vote that stands for a voter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) vote_id: Uuid,
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) choices: Vec<u8>,
}

/// What must be.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The votes that were sent, by name.
    pub(super) sent: HashMap<Uuid, Attempts>,
    /// What became of the votes in the log, by name.
    pub(super) outcomes: HashMap<Uuid, Outcome>,
    /// The vote that stands for each voter of each poll, retractions among them.
    pub(super) standing: BTreeMap<(Uuid, Uuid), Standing>,
    /// The tally of each poll.
    pub(super) tallies: BTreeMap<Uuid, Counted>,
    /// How far each partition must be applied, and with which outcomes.
    pub(super) progress: BTreeMap<u32, Progress>,
    /// Where records stand that are no votes, and were written on purpose.
    pub(super) foreign: BTreeSet<(u32, i64)>,
    /// How many of the repeats in each partition are of duplicates: those are not kept, so that a store takes a repeat of one for
    /// another duplicate, unless it comes together with the first.
    pub(super) repeated_duplicates: BTreeMap<u32, i64>,
}

impl Expected {
    pub(super) fn new(history: &[Event], log: &[Record]) -> Self {
        let mut expected = Self { sent: sent(history), ..Self::default() };
        let mut polls = BTreeMap::new();
        for event in history {
            match event.what {
                What::Poll { poll, options, allow_change } => {
                    expected.tallies.insert(poll, Counted::none(options));
                    polls.extend(definition(poll, options, allow_change).map(|definition| (poll, definition)));
                }
                What::Foreign { partition, offset } => {
                    expected.foreign.insert((partition, offset));
                }
                _ => {}
            }
        }
        for record in log {
            let progress = expected.progress.entry(record.partition).or_default();
            progress.next_offset = record.offset + 1;
            // What cannot be read is set aside, and ends as invalid.
            progress.invalid += i64::from(record.vote.is_none());
        }
        let mut voters: BTreeMap<(Uuid, Uuid), Vec<(&Record, &RecordedVote)>> = BTreeMap::new();
        for (record, vote) in log.iter().filter_map(|record| record.vote.as_ref().map(|vote| (record, vote))) {
            voters.entry((vote.poll, vote.voter)).or_default().push((record, vote));
        }
        for ((poll, voter), own) in voters {
            expected.count_voter(poll, voter, &own, polls.get(&poll));
        }
        expected
    }

    fn count_voter(&mut self, poll: Uuid, voter: Uuid, own: &[(&Record, &RecordedVote)], definition: Option<&Poll>) {
        let polls = definition.map(|definition| (definition.id, definition.clone())).into_iter().collect();
        let id = definition.map(|definition| definition.id);
        let votes: Vec<Vote> = own.iter().filter_map(|(_, vote)| id.and_then(|id| model(id, vote))).collect();
        let (_, resolutions) = count(&polls, &votes);
        let mut names = BTreeSet::new();
        for (number, (record, vote)) in own.iter().enumerate() {
            let outcome = resolutions.get(number).map_or(Outcome::Invalid, |resolution| resolution.outcome);
            let progress = self.progress.entry(record.partition).or_default();
            if !names.insert(vote.vote_id) {
                progress.repeated += 1;
                *self.repeated_duplicates.entry(record.partition).or_default() += i64::from(outcome == Outcome::Duplicate);
                continue;
            }
            self.outcomes.insert(vote.vote_id, outcome);
            match outcome {
                Outcome::Counted => progress.counted += 1,
                Outcome::Superseded => {
                    progress.counted += 1;
                    progress.superseded += 1;
                }
                Outcome::Duplicate => progress.duplicate += 1,
                Outcome::Late => progress.late += 1,
                Outcome::Invalid => progress.invalid += 1,
            }
            if matches!(outcome, Outcome::Counted | Outcome::Superseded) {
                let Record { partition, offset, .. } = **record;
                let choices = vote.choices.clone();
                let standing = Standing { vote_id: vote.vote_id, partition, offset, choices };
                self.standing.insert((poll, voter), standing);
            }
        }
        if let (Some(standing), Some(tally)) = (self.standing.get(&(poll, voter)), self.tallies.get_mut(&poll)) {
            tally.add(&standing.choices);
        }
    }
}

fn sent(history: &[Event]) -> HashMap<Uuid, Attempts> {
    let mut sent: HashMap<Uuid, Attempts> = HashMap::new();
    let mut names = HashMap::new();
    for event in history {
        match &event.what {
            What::Sent { attempt, ballot, .. } => {
                names.insert(*attempt, ballot.vote_id);
                let attempts = sent.entry(ballot.vote_id).or_default();
                attempts.ballot.get_or_insert_with(|| ballot.clone());
                // Until it is known that it is not.
                attempts.may_be_recorded += 1;
            }
            What::Answered { attempt, answer } => {
                let Some(attempts) = names.get(attempt).and_then(|vote_id| sent.get_mut(vote_id)) else { continue };
                match answer {
                    Answer::Acknowledged { .. } => attempts.acknowledged += 1,
                    Answer::NotRecorded { .. } => attempts.may_be_recorded -= 1,
                    Answer::Unknown { .. } => {}
                }
            }
            _ => {}
        }
    }
    sent
}

/// The poll as the definition of counting wants it: open for ever, one choice.
fn definition(poll: Uuid, options: u8, allow_change: bool) -> Option<Poll> {
    let options = (1..=options).map(|number| number.to_string()).collect();
    let draft = PollDraft { question: "?".to_owned(), options, allow_change, ..PollDraft::default() };
    let created = PollId::from_uuid(poll)?.created_at();
    draft.into_poll(OwnerKey([0; 32]), created).ok()
}

fn model(poll: PollId, vote: &RecordedVote) -> Option<Vote> {
    let options = vote.choices.iter().filter_map(|&choice| OptionId::new(u64::from(choice)));
    Some(Vote {
        poll,
        voter: VoterKey(*vote.voter.as_bytes()),
        id: VoteId(vote.vote_id),
        accepted_at: Timestamp::from_micros(vote.accepted_at)?,
        kind: VoteKind::of(Choices::new(options)),
    })
}
