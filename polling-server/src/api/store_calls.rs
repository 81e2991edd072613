//! Calls of the store that a request waits for, with a deadline, and that a vanished request does not cut short.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use polling_core::model::{PollId, Receipt, Resolution, VoterKey};
use polling_core::store::{CountedVote, StoreError};

use super::problem::Problem;
use super::problem_kind::ProblemKind;
use crate::live::views::PollView;
use crate::service::Service;

/// Runs a call of the store to its end and answers what it said; `None` when that takes longer than `deadline`.
///
/// A database connection that loses its caller in the middle of a statement has to be thrown away, so the call goes on in a task
/// of its own whatever becomes of the request.
pub(crate) async fn undisturbed<T: Send + 'static>(deadline: Duration, mut call: BoxFuture<'static, T>) -> Option<T> {
    // A store in memory answers at once and needs no task.
    if let Poll::Ready(answer) = futures_util::poll!(&mut call) {
        return Some(answer);
    }
    match tokio::time::timeout(deadline, tokio::spawn(call)).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
        Err(_) => None,
    }
}

/// Waits for a call that may be dropped, so one that does not read or change the store; `None` when that takes longer than `deadline`.
pub(crate) async fn within<T>(deadline: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    // What is at hand at once needs no timer, and on the way of a vote that is nearly everything.
    if let Poll::Ready(answer) = futures_util::poll!(&mut call) {
        return Some(answer);
    }
    tokio::time::timeout(deadline, call).await.ok()
}

/// Reads from the store for a client that waits for the answer.
pub(crate) async fn read<T: Send + 'static>(
    service: &Service,
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Problem> {
    match undisturbed(service.limits.deadline, Box::pin(call)).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(Problem::of_failed_read(Some(&error))),
        None => Err(Problem::of_failed_read(None)),
    }
}

/// Changes something in the store for a client that waits for the answer.
pub(crate) async fn write<T: Send + 'static>(
    service: &Service,
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Problem> {
    match undisturbed(service.limits.deadline, Box::pin(call)).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(Problem::of_failed_write(Some(&error))),
        None => Err(Problem::of_failed_write(None)),
    }
}

/// The poll as it is shown; a problem when there is none.
pub(crate) async fn existing_poll(service: &Service, poll: Option<PollId>) -> Result<Arc<PollView>, Problem> {
    let not_found = || Problem::new(ProblemKind::PollNotFound);
    let poll = poll.ok_or_else(not_found)?;
    if let Some(view) = service.views.cached(poll) {
        return Ok(view);
    }
    let views = Arc::clone(&service.views);
    // Boxed, so that the many votes for a poll that is at hand do not carry the reading of one that is not.
    Box::pin(read(service, async move { views.poll(poll).await })).await?.ok_or_else(not_found)
}

/// What became of a vote, and what was asked under its name.
pub(crate) async fn outcome(service: &Service, receipt: Receipt) -> Result<Option<Resolution>, Problem> {
    let tallies = Arc::clone(&service.tallies);
    read(service, async move { tallies.outcome(&receipt).await }).await
}

/// The vote that stands for a voter.
pub(crate) async fn standing(service: &Service, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, Problem> {
    let tallies = Arc::clone(&service.tallies);
    read(service, async move { tallies.standing(poll, voter).await }).await
}
