//! Whether a vote counts: the one rule, decided one vote at a time by every store.

use std::collections::BTreeMap;

use super::outcome::Outcome;
use super::poll::{Poll, PollState};
use super::receipt::Receipt;
use super::vote::{Choices, Vote, VoteId, VoteKind};
use crate::checkpoint::Position;

/// What a store remembers of one voter in one poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballot {
    /// The vote or retraction that stands.
    pub current: Option<StandingVote>,
    /// Votes that do not stand, by their ids: superseded votes, retractions that were replaced, and votes that the poll could
    /// not take. Duplicates and late votes are not kept, because they can be derived.
    pub past: BTreeMap<VoteId, PastVote>,
}

impl Ballot {
    /// What is kept under this vote id, whether it stands or is past.
    #[must_use]
    pub fn find(&self, id: VoteId) -> Option<PastVote> {
        let standing = self.current.filter(|standing| standing.id == id);
        debug_assert!(standing.is_none() || !self.past.contains_key(&id), "a vote id stands or is past, never both");
        standing.map(PastVote::standing).or_else(|| self.past.get(&id).copied())
    }
}

/// What was asked under a vote id, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastVote {
    /// What the first vote with this id asked for.
    pub kind: VoteKind,
    /// The outcome that the id has.
    pub outcome: Outcome,
}

impl PastVote {
    const fn standing(standing: StandingVote) -> Self {
        Self { kind: VoteKind::of(standing.choices), outcome: Outcome::Counted }
    }
}

/// The vote that stands for a voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandingVote {
    /// Its name.
    pub id: VoteId,
    /// What is counted; `None` after a retraction.
    pub choices: Option<Choices>,
    /// Where it stands in the log.
    pub position: Position,
}

/// What a vote does to a ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The vote id was used before: nothing changes, and it has the outcome of the first.
    Repeat {
        /// The outcome of the first.
        outcome: Outcome,
        /// Whether it asks for the same as the first.
        same: bool,
    },
    /// Nothing changes and nothing is kept: the outcome can be derived.
    Refuse(Outcome),
    /// Nothing changes, and the vote id is kept as invalid, so that a repeat is invalid too.
    Reject,
    /// It becomes the vote that stands. The one that stood, if any, is kept with this outcome.
    Stand {
        /// The choices to be counted from now on; `None`: a retraction.
        choices: Option<Choices>,
        /// The outcome that the vote which stood before has from now on.
        displaced: Option<(StandingVote, Outcome)>,
    },
}

impl Decision {
    /// The outcome of the vote itself.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Repeat { outcome, .. } | Self::Refuse(outcome) => *outcome,
            Self::Reject => Outcome::Invalid,
            Self::Stand { .. } => Outcome::Counted,
        }
    }
}

/// Decides what `vote` does to the `ballot` of its voter. `poll` is `None` when there is no such poll (any more).
///
/// The order of the questions is part of the rule: a known vote id first, so that a repeat has the outcome of its first
/// arrival; a second vote before a late one, so that a repeated duplicate stays one after the close. It takes for granted that
/// the acceptance times of one voter's votes do not go back: of servers whose clocks differ, one may count a repeat of what
/// another found late.
#[must_use]
pub fn decide(poll: Option<&Poll>, ballot: &Ballot, vote: &Vote) -> Decision {
    if let Some(first) = ballot.find(vote.id) {
        return Decision::Repeat { outcome: first.outcome, same: first.kind == vote.kind };
    }
    let Some(poll) = poll else {
        return Decision::Refuse(Outcome::Invalid);
    };
    // These two come before the question whether the vote is sound: they are not kept, so whatever is sent under the same
    // id later must come to the same.
    if ballot.current.is_some() && !poll.allow_change {
        return Decision::Refuse(Outcome::Duplicate);
    }
    let state = poll.state(vote.accepted_at);
    if state == PollState::Closed {
        return Decision::Refuse(Outcome::Late);
    }
    if state == PollState::Scheduled || !poll.can_take(vote.kind) {
        return Decision::Reject;
    }
    let choices = vote.kind.choices();
    if choices.is_none() && ballot.current.is_none_or(|standing| standing.choices.is_none()) {
        return Decision::Reject;
    }
    let displaced = ballot.current.map(|standing| {
        // A retraction that took effect has done its work, whatever comes after it.
        (standing, if standing.choices.is_some() { Outcome::Superseded } else { Outcome::Counted })
    });
    Decision::Stand { choices, displaced }
}

impl Poll {
    /// Whether a vote of this kind keeps the rules of the poll, whenever it comes and whoever casts it.
    #[must_use]
    pub fn can_take(&self, kind: VoteKind) -> bool {
        match kind {
            VoteKind::Cast(choices) => {
                choices.highest_index() < self.options.len() && choices.len() <= usize::from(self.max_choices)
            }
            VoteKind::Retract => self.allow_change,
        }
    }
}

/// What is known of the vote that a receipt names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// What became of it.
    pub outcome: Outcome,
    /// What the first vote with its id asked for; `None` when nothing is kept under the id, because the outcome is derived.
    pub kind: Option<VoteKind>,
}

impl Resolution {
    /// Whether a vote of this kind asks for something else than the first vote with its id, whose outcome this is.
    #[must_use]
    pub fn conflicts_with(&self, kind: VoteKind) -> bool {
        self.kind.is_some_and(|first| first != kind)
    }
}

/// What became of the vote that `receipt` names; `None` while it is not known.
///
/// `poll` is the poll even when it is archived: its receipts still resolve. `passed` says whether the partition's checkpoint
/// has passed the receipt's position.
#[must_use]
pub fn derive_outcome(poll: Option<&Poll>, ballot: &Ballot, receipt: &Receipt, passed: bool) -> Option<Resolution> {
    let derived = |outcome| Resolution { outcome, kind: None };
    if let Some(PastVote { kind, outcome }) = ballot.find(receipt.vote_id) {
        return Some(Resolution { outcome, kind: Some(kind) });
    }
    let Some(poll) = poll else {
        return passed.then_some(derived(Outcome::Invalid));
    };
    // Where a vote cannot be replaced, one under another id settles it, even while its own position is not known.
    let blocking = ballot.current.filter(|_| !poll.allow_change);
    if !passed && (receipt.position.is_some() || blocking.is_none()) {
        return None;
    }
    let late = poll.state(receipt.accepted_at) == PollState::Closed;
    let came_after = match (blocking, receipt.position) {
        (Some(standing), Some(position)) => {
            standing.position.partition != position.partition || standing.position.offset < position.offset
        }
        (Some(_), None) => !late,
        (None, _) => false,
    };
    Some(derived(if came_after {
        Outcome::Duplicate
    } else if late {
        Outcome::Late
    } else if blocking.is_some() {
        Outcome::Duplicate
    } else {
        Outcome::Invalid
    }))
}
