//! Creating, closing and archiving polls in a transaction of PostgreSQL, beside batches that add to them.

use super::folding::fold;
use super::postgres_apply::{execute, find, query};
use super::postgres_lane::Connection;
use super::postgres_rows::{column, kept_poll, optional_time, poll_id, sound};
use super::postgres_statements as statements;
use super::rows::KeptPoll;
use super::{PollSnapshot, StoreError, Transitions, close_time};
use crate::clock::Timestamp;
use crate::model::{Poll, PollId};

pub(super) async fn create_poll(connection: &mut Connection, poll: &Poll) -> Result<(), StoreError> {
    let create = query(statements::CREATE_POLL)
        .bind(poll.id.as_uuid())
        .bind(i16::from(poll.max_choices))
        .bind(poll.allow_change)
        .bind(poll.results.as_str())
        .bind(poll.opens_at.map(Timestamp::as_micros))
        .bind(poll.closes_at.map(Timestamp::as_micros))
        .bind(poll.first_transition().map(Timestamp::as_micros))
        .bind(poll.owner.0.to_vec())
        .bind(poll.question.clone())
        .bind(fold(&poll.question))
        .bind(poll.options.clone());
    // No row: there is such a poll already, and it stays as it is.
    execute(connection, create).await?;
    Ok(())
}

/// The lock makes this come after every batch that has added to the poll, whose votes it must not make late, and before every batch
/// that will, which then finds the poll closed.
pub(super) async fn close_poll(
    connection: &mut Connection,
    poll: PollId,
    at: Timestamp,
) -> Result<Option<PollSnapshot>, StoreError> {
    let rows = find(connection, query(statements::LOCK_POLL).bind(poll.as_uuid())).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let KeptPoll { number, last_accepted_at, mut snapshot, .. } = kept_poll(row)?;
    if !snapshot.poll.has_closed() {
        snapshot.poll = snapshot.poll.closed(close_time(at, last_accepted_at));
        snapshot.tally.version.number += 1;
        let close = query(statements::CLOSE).bind(number).bind(snapshot.poll.closes_at.map(Timestamp::as_micros));
        execute(connection, close).await?;
    }
    Ok(Some(snapshot))
}

pub(super) async fn archive_poll(connection: &mut Connection, poll: PollId) -> Result<bool, StoreError> {
    Ok(execute(connection, query(statements::ARCHIVE).bind(poll.as_uuid())).await? > 0)
}

pub(super) async fn make_transitions(connection: &mut Connection, now: Timestamp) -> Result<Transitions, StoreError> {
    let due = find(connection, query(statements::TRANSITION).bind(now.as_micros())).await?;
    let mut changed = due.iter().map(poll_id).collect::<Result<Vec<PollId>, StoreError>>()?;
    changed.sort_unstable();
    let next = find(connection, query(statements::NEXT_TRANSITION)).await?;
    let next = optional_time(sound(next.first(), "the next transition")?, "next")?;
    Ok(Transitions { changed, next })
}

/// Whether a poll has a row in what was found beside other things.
pub(super) fn has_poll(row: &sqlx::postgres::PgRow) -> Result<bool, StoreError> {
    Ok(column::<Option<i64>>(row, "number")?.is_some())
}
