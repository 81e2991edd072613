//! What the `SQLite` store does within a transaction: creating and closing polls, transitions, and applying a batch.
//!
//! Nothing here begins, commits or rolls back. A function that answers an error has its transaction rolled back.

use std::collections::{HashMap, HashSet};

use super::rows::{self, KeptPast, KeptPoll};
use super::settle::{Ballots, settle};
use super::sqlite::{Connection, Query, blob, column, execute, find, kept_poll, poll_id, query, sound, standing_vote};
use super::sqlite_rows::{self, Changes, PackedRows};
use super::sqlite_statements as statements;
use super::{Applied, PollSnapshot, StoreError, Transitions, close_time};
use crate::checkpoint::{Batch, Entry, Offset};
use crate::clock::Timestamp;
use crate::model::{OutcomeCounts, Poll, PollId, PollState, Tally};

/// Bytes that are kept of a record that cannot be read: more than any vote has, and a bound for rubbish.
const DEAD_LETTER_BYTES_MAX: usize = 64 * 1024;
/// Characters that are kept of the reason why.
const REASON_CHARS_MAX: usize = 1000;

pub(super) async fn create_poll(connection: &mut Connection, poll: Poll) -> Result<(), StoreError> {
    let create = query(statements::CREATE_POLL)
        .bind(blob(poll.id))
        .bind(i64::from(poll.max_choices))
        .bind(poll.allow_change)
        .bind(poll.results.as_str())
        .bind(poll.opens_at.map(Timestamp::as_micros))
        .bind(poll.closes_at.map(Timestamp::as_micros))
        .bind(poll.first_transition().map(Timestamp::as_micros))
        .bind(poll.owner.0.to_vec());
    let created = find(connection, create).await?;
    // No row: there is such a poll already, and it stays as it is.
    let Some(created) = created.first() else { return Ok(()) };
    let number: i64 = column(created, "number")?;
    let options = serde_json::to_string(&poll.options).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let texts =
        query(statements::CREATE_TEXTS).bind(number).bind(poll.question.clone()).bind(poll.question.to_lowercase()).bind(options);
    execute(connection, texts).await?;
    execute(connection, query(statements::CREATE_TALLIES).bind(number)).await?;
    Ok(())
}

pub(super) async fn close_poll(
    connection: &mut Connection,
    poll: PollId,
    at: Timestamp,
    epoch: u64,
) -> Result<Option<PollSnapshot>, StoreError> {
    let rows = find(connection, query(statements::READ_POLL).bind(blob(poll))).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let KeptPoll { number, last_accepted_at, mut snapshot, .. } = kept_poll(row, epoch)?;
    if snapshot.poll.state(at) != PollState::Closed {
        snapshot.poll = snapshot.poll.closed(close_time(at, last_accepted_at));
        snapshot.tally.version.number += 1;
        let close = query(statements::CLOSE)
            .bind(number)
            .bind(snapshot.poll.closes_at.map(Timestamp::as_micros))
            // Where the close had to move behind a vote, the change of state is still to come and has a version of its own.
            .bind(snapshot.poll.next_transition(at).map(Timestamp::as_micros));
        execute(connection, close).await?;
    }
    Ok(Some(snapshot))
}

pub(super) async fn archive_poll(connection: &mut Connection, poll: PollId) -> Result<bool, StoreError> {
    Ok(execute(connection, query(statements::ARCHIVE).bind(blob(poll))).await? > 0)
}

pub(super) async fn make_transitions(connection: &mut Connection, now: Timestamp) -> Result<Transitions, StoreError> {
    let due = find(connection, query(statements::TRANSITION).bind(now.as_micros())).await?;
    let mut changed = due.iter().map(poll_id).collect::<Result<Vec<PollId>, StoreError>>()?;
    changed.sort_unstable();
    let next = find(connection, query(statements::NEXT_TRANSITION)).await?;
    let next = column(sound(next.first(), "the next transition")?, "next")?;
    Ok(Transitions { changed, next: sound(rows::optional_time(next), "the next transition")? })
}

pub(super) async fn apply(connection: &mut Connection, batch: Batch, epoch: u64) -> Result<Applied, StoreError> {
    move_checkpoints(connection, &batch).await?;
    if batch.is_empty() {
        execute(connection, query(statements::PROBE)).await?;
        return Ok(Applied::default());
    }
    let (polls, with_past) = find_polls(connection, &batch, epoch).await?;
    let mut ballots = find_ballots(connection, &batch, &polls).await?;
    let kept_past = find_past(connection, &batch, &polls, &with_past, &mut ballots).await?;
    let takes_votes = |id| polls.get(&id).filter(|kept| !kept.archived).map(|kept| &kept.snapshot.poll);
    let settlement = settle(&batch, takes_votes, &mut ballots);
    let changes = sqlite_rows::changes(&batch, &polls, &ballots, &kept_past, &settlement).map_err(StoreError::Damaged)?;
    let tallies = write_changes(connection, changes).await?;
    write_dead_letters(connection, &batch).await?;
    for (partition, counts) in &settlement.counts {
        execute(connection, count_outcomes(query(statements::ADD_COUNTS).bind(i64::from(partition.0)), counts)).await?;
    }
    Ok(Applied { outcomes: settlement.outcomes, conflicts: settlement.conflicts, tallies })
}

/// The whole fence: where a checkpoint does not stand where the batch starts, somebody else has applied these records.
async fn move_checkpoints(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    for part in batch.parts() {
        let partition = i64::from(part.partition.0);
        let compare_and_set = query(statements::MOVE_CHECKPOINT).bind(partition).bind(part.first.get()).bind(part.next().get());
        if execute(connection, compare_and_set).await? == 0 {
            let found = find(connection, query(statements::FIND_CHECKPOINT).bind(partition)).await?;
            let found: Option<i64> = found.first().map(|row| column(row, "next_offset")).transpose()?;
            let found = found.and_then(Offset::new).unwrap_or_default();
            return Err(StoreError::Fenced { partition: part.partition, expected: part.first, found });
        }
    }
    Ok(())
}

/// The polls that the batch names, and the numbers of those that keep past votes.
async fn find_polls(
    connection: &mut Connection,
    batch: &Batch,
    epoch: u64,
) -> Result<(HashMap<PollId, KeptPoll>, HashSet<i64>), StoreError> {
    let (mut polls, mut with_past) = (HashMap::new(), HashSet::new());
    for row in find(connection, query(statements::FIND_POLLS).bind(sqlite_rows::polls_to_find(batch).finish())).await? {
        let kept = kept_poll(&row, epoch)?;
        if column(&row, "has_past")? {
            with_past.insert(kept.number);
        }
        polls.insert(kept.snapshot.poll.id, kept);
    }
    Ok((polls, with_past))
}

async fn find_ballots(
    connection: &mut Connection,
    batch: &Batch,
    polls: &HashMap<PollId, KeptPoll>,
) -> Result<Ballots, StoreError> {
    let by_number: HashMap<i64, &KeptPoll> = polls.values().map(|kept| (kept.number, kept)).collect();
    let mut ballots = Ballots::with_capacity(batch.len());
    let keys = sqlite_rows::ballots_to_find(batch, polls);
    for row in find(connection, query(statements::FIND_BALLOTS).bind(keys.finish())).await? {
        let kept = sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let standing = standing_vote(&row)?;
        let poll = &kept.snapshot.poll;
        if standing.choices.is_some_and(|choices| choices.highest_index() >= poll.options.len()) {
            return Err(StoreError::Damaged(format!("a vote in the poll {} chooses what it does not have", poll.id)));
        }
        let voter = sound(sqlite_rows::voter_key(column(&row, "voter")?), "the key of a voter")?;
        ballots.entry((poll.id, voter)).or_default().current = Some(standing);
    }
    Ok(ballots)
}

/// Adds to the ballots the past votes that the batch names, and answers which they are.
async fn find_past(
    connection: &mut Connection,
    batch: &Batch,
    polls: &HashMap<PollId, KeptPoll>,
    with_past: &HashSet<i64>,
    ballots: &mut Ballots,
) -> Result<KeptPast, StoreError> {
    let mut kept_past = KeptPast::new();
    let keys = sqlite_rows::past_to_find(batch, polls, with_past);
    if keys.is_empty() {
        return Ok(kept_past);
    }
    let by_number: HashMap<i64, PollId> = polls.iter().map(|(&id, kept)| (kept.number, id)).collect();
    for row in find(connection, query(statements::FIND_PAST).bind(keys.finish())).await? {
        let poll = *sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let voter = sound(sqlite_rows::voter_key(column(&row, "voter")?), "the key of a voter")?;
        let id = sound(sqlite_rows::vote_id(column(&row, "vote_id")?), "the name of a vote")?;
        let past = sound(rows::past_vote(column(&row, "outcome")?, column(&row, "choices")?), "a past vote")?;
        ballots.entry((poll, voter)).or_default().past.insert(id, past);
        kept_past.insert((poll, voter, id));
    }
    Ok(kept_past)
}

async fn write_changes(connection: &mut Connection, changes: Changes) -> Result<Vec<Tally>, StoreError> {
    write_rows(connection, statements::WRITE_VOTES, changes.votes).await?;
    write_rows(connection, statements::WRITE_PAST, changes.past).await?;
    write_rows(connection, statements::WRITE_TALLIES, changes.options).await?;
    write_rows(connection, statements::WRITE_POLLS, changes.polls).await?;
    Ok(changes.tallies)
}

/// Writes rows, every one of which must be new or change: a tally is only right when its votes really were written.
async fn write_rows(connection: &mut Connection, statement: &'static str, rows: PackedRows) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let expected = rows.len();
    let written = execute(connection, query(statement).bind(rows.finish())).await?;
    if written == expected {
        Ok(())
    } else {
        Err(StoreError::Damaged(format!("{written} rows were written instead of {expected}")))
    }
}

async fn write_dead_letters(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    for (position, entry) in batch.positioned() {
        let Entry::DeadLetter(letter) = entry else { continue };
        let bytes = letter.bytes.len();
        let write = query(statements::WRITE_DEAD_LETTER)
            .bind(i64::from(position.partition.0))
            .bind(position.offset.get())
            .bind(letter.reason.chars().take(REASON_CHARS_MAX).collect::<String>())
            .bind(letter.bytes[..bytes.min(DEAD_LETTER_BYTES_MAX)].to_vec())
            .bind(i64::try_from(bytes).unwrap_or(i64::MAX));
        execute(connection, write).await?;
    }
    Ok(())
}

fn count_outcomes(query: Query, counts: &OutcomeCounts) -> Query {
    let OutcomeCounts { counted, superseded, duplicate, late, invalid, repeated } = *counts;
    // At most the records of a batch, which a machine can hold, so the sign bit is never set.
    [counted, superseded, duplicate, late, invalid, repeated]
        .into_iter()
        .fold(query, |query, count| query.bind(count.cast_signed()))
}
