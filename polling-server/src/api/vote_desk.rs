//! Where votes are taken: checked, recorded, and answered by what became of them.

use std::sync::Arc;
use std::time::Duration;

use polling_core::model::{Outcome, Poll, PollState, Receipt, Resolution, Vote, VoteId, VoteKind, VoterKey};
use polling_core::secret::ReceiptToken;
use polling_core::sink::Recorded;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::rate_limits::RateLimit;
use super::recent_voters::RecentVoters;
use super::store_calls::{self, undisturbed, within};
use crate::service::Service;

/// How long a vote waits to hear whether its voter is known to have voted: a courtesy is not worth more.
const COURTESY_WAIT: Duration = Duration::from_millis(500);
/// How often a client that waits for an outcome has the store asked, should the news of progress be lost.
const OUTCOME_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A vote or a retraction that keeps the rules of its poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission {
    /// Who votes.
    pub(crate) voter: VoterKey,
    /// The name that the client gave it; `None`: it gave none.
    pub(crate) vote_id: Option<VoteId>,
    /// What it asks for.
    pub(crate) kind: VoteKind,
}

/// A vote that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The token to ask later what became of it.
    pub(crate) receipt: ReceiptToken,
    /// Whether it is known to be counted.
    pub(crate) is_counted: bool,
    /// Its name.
    pub(crate) vote_id: VoteId,
}

impl Accepted {
    /// The word for the state in answers.
    pub(crate) const fn status(&self) -> &'static str {
        if self.is_counted { "counted" } else { "pending" }
    }
}

/// A vote that was taken, and whose outcome may still have to be waited for.
pub(crate) enum Taken {
    /// Nothing had to be recorded to answer it.
    Answered(Accepted),
    /// It is recorded.
    Recorded {
        /// The vote.
        vote: Vote,
        /// What the log says of it.
        recorded: Recorded,
    },
}

/// Takes votes.
pub(crate) struct VoteDesk {
    service: Arc<Service>,
    recent: RecentVoters,
    rate_limit: Option<RateLimit>,
}

impl VoteDesk {
    /// A desk that has seen nobody yet.
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let rate_limit = RateLimit::of_voters(service.access.rates);
        Self { service, recent: RecentVoters::new(), rate_limit }
    }

    /// The parts of the system.
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// Takes a vote; waits for its outcome up to `wait`. Dropping the future leaves the vote recorded or not, as a lost answer does.
    pub(crate) async fn submit(&self, poll: &Poll, submission: Submission, wait: Option<Duration>) -> Result<Accepted, Problem> {
        let taken = self.take(poll, submission).await?;
        self.settle(&taken, wait).await
    }

    /// The first half of [`submit`](Self::submit): when it is over, a vote that the voter casts next stands later in the log.
    pub(crate) async fn take(&self, poll: &Poll, submission: Submission) -> Result<Taken, Problem> {
        let Submission { voter, vote_id, kind } = submission;
        if let Some(limit) = &self.rate_limit {
            limit.admit_voter(voter)?;
        }
        let accepted_at = self.service.clock.now();
        let id = vote_id.unwrap_or_else(|| VoteId(Uuid::new_v4()));
        let vote = Vote { poll: poll.id, voter, id, accepted_at, kind };
        match poll.state_for_voting(accepted_at) {
            PollState::Open => {}
            PollState::Scheduled => return Err(Problem::new(ProblemKind::PollNotOpen)),
            PollState::Closed if vote_id.is_none() => return Err(Problem::new(ProblemKind::PollClosed)),
            PollState::Closed => return Box::pin(self.repeated_after_close(poll, &vote)).await.map(Taken::Answered),
        }
        if self.recent.saw(voter)
            && let Some(answer) = Box::pin(self.answer_to_known_voter(poll, &vote)).await
        {
            return answer.map(Taken::Answered);
        }
        let recorded = match within(self.service.limits.deadline, self.service.sink.record(vote)).await {
            Some(Ok(recorded)) => recorded,
            Some(Err(error)) => return Err(Problem::of_failed_record(Some(&error))),
            None => return Err(Problem::of_failed_record(None)),
        };
        self.recent.note(voter);
        Ok(Taken::Recorded { vote, recorded })
    }

    /// The second half of [`submit`](Self::submit): what became of the vote, as far as it is known or becomes known within `wait`.
    pub(crate) async fn settle(&self, taken: &Taken, wait: Option<Duration>) -> Result<Accepted, Problem> {
        let (vote, recorded) = match taken {
            Taken::Answered(accepted) => return Ok(*accepted),
            Taken::Recorded { vote, recorded } => (vote, recorded),
        };
        let receipt = Receipt::of(vote, recorded.position);
        // The ways that few votes take are boxed, so that all the others carry less with them.
        let (outcome, is_conflict) = match (recorded.outcome, wait) {
            (None, Some(wait)) => {
                let known = Box::pin(self.await_outcome(receipt, wait)).await;
                (known.map(|known| known.outcome), known.is_some_and(|known| known.conflicts_with(vote.kind)))
            }
            (outcome, _) => (outcome, recorded.is_conflict),
        };
        match outcome {
            _ if is_conflict => Err(vote_id_used()),
            None | Some(Outcome::Counted | Outcome::Superseded) => Ok(self.accepted(vote, &receipt, outcome.is_some())),
            Some(Outcome::Duplicate) => Err(Problem::new(ProblemKind::AlreadyVoted)),
            Some(Outcome::Late) => Err(Problem::new(ProblemKind::PollClosed)),
            Some(Outcome::Invalid) => Err(Box::pin(self.invalid(vote)).await),
        }
    }

    /// What the store knows already of a voter who was seen before; `None` when the vote must be recorded to find out.
    async fn answer_to_known_voter(&self, poll: &Poll, vote: &Vote) -> Option<Result<Accepted, Problem>> {
        let (tallies, poll_id, voter) = (Arc::clone(&self.service.tallies), vote.poll, vote.voter);
        let call = Box::pin(async move { tallies.standing(poll_id, voter).await });
        // A store that cannot be read is no reason to refuse a vote that the log can take.
        let standing = undisturbed(COURTESY_WAIT, call).await?.ok()??;
        if standing.id == vote.id {
            return Some(if standing.choices == vote.kind.choices() {
                Ok(self.accepted(vote, &Receipt::of(vote, None), true))
            } else {
                Err(vote_id_used())
            });
        }
        (!poll.allow_change).then(|| Err(Problem::new(ProblemKind::AlreadyVoted)))
    }

    /// A client may send a vote again after the close; it is answered by the outcome of its first arrival, if there was one.
    async fn repeated_after_close(&self, poll: &Poll, vote: &Vote) -> Result<Accepted, Problem> {
        let receipt = Receipt::of(vote, None);
        // This attempt is not recorded, but the first one may be.
        let unknown = |problem: Problem| match problem.kind() {
            ProblemKind::Unavailable => Problem::new(ProblemKind::OutcomeUnknown),
            _ => problem,
        };
        let known = store_calls::outcome(&self.service, receipt).await.map_err(unknown)?;
        if known.is_some_and(|known| known.conflicts_with(vote.kind)) {
            return Err(vote_id_used());
        }
        match known.map(|known| known.outcome) {
            Some(Outcome::Counted | Outcome::Superseded) => return Ok(self.accepted(vote, &receipt, true)),
            Some(Outcome::Invalid) => return Err(self.invalid(vote).await),
            // Derived from the time of this arrival, which is not the first.
            Some(Outcome::Duplicate | Outcome::Late) | None => {}
        }
        let standing = store_calls::standing(&self.service, vote.poll, vote.voter).await.map_err(unknown)?;
        let is_second = standing.is_some() && !poll.allow_change;
        Err(Problem::new(if is_second { ProblemKind::AlreadyVoted } else { ProblemKind::PollClosed }))
    }

    /// Why the store could not take a vote that the desk let pass.
    async fn invalid(&self, vote: &Vote) -> Problem {
        let (polls, poll) = (Arc::clone(&self.service.polls), vote.poll);
        match store_calls::read(&self.service, async move { polls.read(poll).await }).await {
            Ok(Some(_)) if vote.kind == VoteKind::Retract => Problem::new(ProblemKind::NoVote),
            // What the desk lets pass has choices that the poll takes, so it can only have come before the opening.
            Ok(Some(_)) => Problem::new(ProblemKind::PollNotOpen),
            // Where the store does not say, it is the reason that needs no clock to be wrong.
            Ok(None) | Err(_) => Problem::new(ProblemKind::PollNotFound),
        }
    }

    fn accepted(&self, vote: &Vote, receipt: &Receipt, is_counted: bool) -> Accepted {
        Accepted { receipt: self.service.secret.seal_receipt(receipt), is_counted, vote_id: vote.id }
    }

    /// What becomes of the vote within `wait`; `None` when that is too short, or the store does not say.
    pub(crate) async fn await_outcome(&self, receipt: Receipt, wait: Duration) -> Option<Resolution> {
        let until = Instant::now() + wait;
        let mut progress = self.service.views.progress();
        loop {
            // Asking makes sense when the counting has passed the vote, and from time to time in case that news was lost.
            let look_at = until.min(Instant::now() + OUTCOME_LOOK_INTERVAL);
            let has_passed = match receipt.position {
                Some(position) => {
                    let passed = progress.wait_for(|checkpoint| checkpoint.has_passed(position));
                    matches!(timeout_at(look_at, passed).await, Ok(Ok(_)))
                }
                None => false,
            };
            if !has_passed {
                tokio::time::sleep_until(look_at).await;
            }
            if let Ok(Some(known)) = store_calls::outcome(&self.service, receipt).await {
                return Some(known);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep_until(look_at).await;
        }
    }
}

fn vote_id_used() -> Problem {
    Problem::with_detail(ProblemKind::AlreadyVoted, "This vote_id was used before, for another choice.")
}
