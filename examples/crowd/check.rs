//! Compares what the server shows in the end with what was sent.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use polling_core::model::{Outcome, Totals};
use polling_core::retry::Pauses;
use uuid::Uuid;
use voting::Failure;
use voting::client::Connection;
use voting::polls::{self, Poll};
use voting::receipts;

use crate::plan::Plan;
use crate::score::Verdict;

/// What the votes must come to.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// What is added to each poll.
    pub(crate) totals: Vec<Totals>,
    /// Voters with a vote that may have been recorded or not: so far a tally may be off.
    pub(crate) uncertain: Vec<u64>,
    /// Votes that were refused as second ones although their voters had none before.
    pub(crate) unfounded: u64,
    /// By place in the plan; `None` where nothing can be said.
    outcomes: Vec<Option<Outcome>>,
}

#[derive(Clone, Copy, Default)]
struct VoterState {
    /// The place of the vote that stands.
    standing: Option<usize>,
    uncertain: bool,
}

impl Expectation {
    /// Follows the rule of the polls vote by vote; votes of one voter were answered in the order of the plan.
    pub(crate) fn new(plan: &Plan, polls: &[Poll], verdicts: &[Option<Verdict>]) -> Self {
        let mut expectation = Self {
            totals: polls.iter().map(|poll| Totals::zero(poll.results.options.len())).collect(),
            uncertain: vec![0; polls.len()],
            unfounded: 0,
            outcomes: vec![None; plan.votes.len()],
        };
        let mut voters = vec![VoterState::default(); plan.voters.count()];
        let mut first_of: HashMap<Uuid, usize> = HashMap::with_capacity(plan.votes.len());
        let mut resends = Vec::new();
        for (index, (vote, verdict)) in plan.votes.iter().zip(verdicts).enumerate() {
            let poll = usize::from(vote.poll);
            let voter = &mut voters[vote.voter as usize];
            match verdict {
                Some(Verdict::Counted | Verdict::Pending) => {}
                Some(Verdict::Refused | Verdict::NotRecorded) | None => continue,
                Some(Verdict::AlreadyVoted) => {
                    let other = voter.standing.is_some_and(|standing| plan.votes[standing].vote_id != vote.vote_id);
                    // Of voters from before this run nothing is known.
                    let is_new = polls[poll].results.voters == 0;
                    let is_second = other && !polls[poll].allow_change;
                    expectation.unfounded += u64::from(is_new && !voter.uncertain && !is_second);
                    continue;
                }
                Some(Verdict::Unknown) => {
                    expectation.uncertain[poll] += u64::from(!voter.uncertain);
                    voter.uncertain = true;
                    continue;
                }
            }
            if let Some(first) = first_of.get(&vote.vote_id) {
                resends.push((index, *first));
                continue;
            }
            first_of.insert(vote.vote_id, index);
            expectation.outcomes[index] = Some(match voter.standing {
                Some(_) if !polls[poll].allow_change => Outcome::Duplicate,
                before => {
                    if let Some(before) = before {
                        expectation.outcomes[before] = Some(Outcome::Superseded);
                    }
                    expectation.totals[poll].replace(before.map(|before| plan.votes[before].choices), Some(vote.choices));
                    voter.standing = Some(index);
                    Outcome::Counted
                }
            });
        }
        for (index, first) in resends {
            expectation.outcomes[index] = expectation.outcomes[first];
        }
        for (vote, outcome) in plan.votes.iter().zip(&mut expectation.outcomes) {
            if voters[vote.voter as usize].uncertain {
                *outcome = None;
            }
        }
        expectation
    }

    /// Whether the poll can have come from `before` to `after`.
    fn fits(&self, poll: usize, before: &Totals, after: &Totals) -> bool {
        let (added, slack) = (&self.totals[poll], self.uncertain[poll]);
        let near = |before: u64, added: u64, after: u64| (before + added).abs_diff(after) <= slack;
        near(before.voters, added.voters, after.voters)
            && after
                .votes
                .iter()
                .zip(&added.votes)
                .zip(&before.votes)
                .all(|((&after, &added), &before)| near(before, added, after))
    }
}

/// What the polls show in the end.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// For each poll that is not as expected, what is wrong.
    pub(crate) wrong: Vec<String>,
    /// Voters that were added to all polls.
    pub(crate) voters: u64,
    /// Polls whose votes per option are hidden: only their voters were compared.
    pub(crate) hidden: usize,
}

/// Reads every poll until it is as expected or the time is over.
pub(crate) async fn tallies(
    connection: &mut Connection,
    before: &[Poll],
    expectation: &Expectation,
    settle: Duration,
) -> Result<Tallies, Failure> {
    let give_up = Instant::now() + settle;
    let mut tallies = Tallies { wrong: Vec::new(), voters: 0, hidden: 0 };
    for (number, poll) in before.iter().enumerate() {
        let mut pauses = Pauses::default();
        let after = loop {
            let read = polls::read(connection, poll.id).await;
            let fits = read.as_ref().is_ok_and(|after| expectation.fits(number, &poll.totals(), &after.totals()));
            if fits || Instant::now() > give_up {
                break read?;
            }
            tokio::time::sleep(pauses.next_pause()).await;
        };
        let (base, shown) = (poll.totals(), after.totals());
        if !expectation.fits(number, &base, &shown) {
            let added = &expectation.totals[number];
            tallies.wrong.push(format!("poll {}: sent {added:?} on top of {base:?}, it shows {shown:?}", poll.id));
        }
        tallies.voters += shown.voters.saturating_sub(base.voters);
        tallies.hidden += usize::from(shown.votes.is_empty());
    }
    Ok(tallies)
}

/// What receipts said.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// How many ended in which way.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Those that did not end as expected, in words; some of them.
    pub(crate) wrong: Vec<String>,
}

/// Looks the receipts up until none is pending or the time is over.
pub(crate) async fn receipts(
    connection: &mut Connection,
    kept: &[(usize, String)],
    expectation: &Expectation,
    settle: Duration,
) -> Result<Receipts, Failure> {
    let give_up = Instant::now() + settle;
    let mut found = Receipts::default();
    for (index, receipt) in kept {
        let mut pauses = Pauses::default();
        let status = loop {
            let status = receipts::look_up(connection, receipt).await;
            let final_answer = status.as_ref().is_ok_and(|status| status != "pending");
            if final_answer || Instant::now() > give_up {
                break status?;
            }
            tokio::time::sleep(pauses.next_pause()).await;
        };
        let expected = expectation.outcomes[*index].map(Outcome::as_str);
        if expected.is_some_and(|expected| expected != status) {
            found.wrong.push(format!("vote {index}: expected {}, its receipt says {status}", expected.unwrap_or_default()));
        }
        *found.outcomes.entry(status).or_default() += 1;
    }
    Ok(found)
}
