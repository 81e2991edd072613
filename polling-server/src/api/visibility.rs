//! Who sees the results of a poll.

use polling_core::clock::Timestamp;
use polling_core::model::{PollId, Receipt, ResultsVisibility, VoterKey};
use polling_core::secret::OwnerToken;
use polling_core::store::PollSnapshot;

use super::identity::Caller;
use super::parameter::{Given, QueryErrors, Token};
use super::problem::Problem;
use super::store_calls;
use crate::service::Service;

/// Why a viewer may see the results, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Everybody sees them.
    Everybody,
    /// This viewer sees them, and others may not.
    ThisViewer,
    /// This viewer does not see them.
    Nothing,
}

impl Sight {
    /// Whether the results are shown.
    #[must_use]
    pub(crate) const fn is_visible(self) -> bool {
        matches!(self, Self::Everybody | Self::ThisViewer)
    }

    /// Whether the results are shown to this viewer, and may not be to others.
    #[must_use]
    pub(crate) const fn is_insider(self) -> bool {
        matches!(self, Self::ThisViewer)
    }
}

/// Reads the query parameter `receipt`: one of this poll, or of any poll when `None` is given, or nothing.
pub(crate) fn receipt_of(
    service: &Service,
    poll: Option<PollId>,
    given: Option<Given<Token>>,
    errors: &mut QueryErrors,
) -> Option<Receipt> {
    let token = errors.take("receipt", given)?;
    let receipt = service.secret.open_receipt(&token.0).filter(|receipt| poll.is_none_or(|poll| receipt.poll == poll));
    if receipt.is_none() {
        errors.refuse("receipt", if poll.is_some() { "must be a receipt of a vote in this poll" } else { "must be a receipt" });
    }
    receipt
}

/// Whether the viewer sees the results of the poll at `now`. `receipt` is one of this poll that the viewer passed.
pub(crate) async fn sight(
    service: &Service,
    caller: Caller<'_>,
    snapshot: &PollSnapshot,
    receipt: Option<Receipt>,
    now: Timestamp,
) -> Result<Sight, Problem> {
    let poll = &snapshot.poll;
    if poll.results_are_public(now) {
        return Ok(Sight::Everybody);
    }
    if caller.bearer().is_some_and(|token| OwnerToken::matches(token, &poll.owner)) {
        return Ok(Sight::ThisViewer);
    }
    if poll.results != ResultsVisibility::AfterVote {
        return Ok(Sight::Nothing);
    }
    if let Some(receipt) = receipt {
        let standing = store_calls::standing(service, poll.id, receipt.voter).await?;
        if standing.is_some_and(|standing| standing.id == receipt.vote_id && standing.choices.is_some()) {
            return Ok(Sight::ThisViewer);
        }
    }
    for voter in caller.proven_voters(service, poll.id) {
        if has_counted_vote(service, poll.id, voter).await? {
            return Ok(Sight::ThisViewer);
        }
    }
    Ok(Sight::Nothing)
}

async fn has_counted_vote(service: &Service, poll: PollId, voter: VoterKey) -> Result<bool, Problem> {
    let standing = store_calls::standing(service, poll, voter).await?;
    Ok(standing.is_some_and(|standing| standing.choices.is_some()))
}
