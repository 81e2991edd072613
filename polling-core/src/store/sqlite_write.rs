//! What the `SQLite` store does within a transaction: creating and closing polls, transitions, and applying a batch.
//!
//! Nothing here begins, commits or rolls back. A function that answers an error has its transaction rolled back.

use std::collections::HashMap;

use super::folding::fold;
use super::rows::{self, KeptPoll};
use super::settle::{Ballots, settle};
use super::sqlite::{Connection, blob, column, execute, find, kept_poll, poll_id, query, sound, standing_vote};
use super::sqlite_rows::{self, Changes, KeptVotes, PackedRows, VoteRow};
use super::sqlite_session::Session;
use super::sqlite_statements::{self as statements, VOTE_ROWS};
use super::{Applied, PollSnapshot, StoreError, Transitions, close_time};
use crate::checkpoint::{Batch, Entry, Offset};
use crate::clock::Timestamp;
use crate::model::{Choices, Poll, PollId, Tally};

/// Bytes that are kept of a record that cannot be read: more than any vote has, and a bound for rubbish.
const DEAD_LETTER_BYTES_MAX: usize = 64 * 1024;
/// Characters that are kept of the reason why.
const REASON_CHARS_MAX: usize = 1000;

pub(super) async fn create_poll(Session { connection, .. }: &mut Session, poll: Poll) -> Result<(), StoreError> {
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
    let texts = query(statements::CREATE_TEXTS).bind(number).bind(poll.question.clone()).bind(fold(&poll.question)).bind(options);
    execute(connection, texts).await?;
    execute(connection, query(statements::CREATE_TALLIES).bind(number)).await?;
    Ok(())
}

pub(super) async fn close_poll(
    session: &mut Session,
    poll: PollId,
    at: Timestamp,
    epoch: u64,
) -> Result<Option<PollSnapshot>, StoreError> {
    session.forget(poll);
    let rows = find(&mut session.connection, query(statements::READ_POLL).bind(blob(poll))).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let KeptPoll { number, last_accepted_at, mut snapshot, .. } = kept_poll(row, epoch)?;
    if !snapshot.poll.has_closed() {
        snapshot.poll = snapshot.poll.closed(close_time(at, last_accepted_at));
        snapshot.tally.version.number += 1;
        let close = query(statements::CLOSE).bind(number).bind(snapshot.poll.closes_at.map(Timestamp::as_micros));
        execute(&mut session.connection, close).await?;
    }
    Ok(Some(snapshot))
}

pub(super) async fn archive_poll(session: &mut Session, poll: PollId) -> Result<bool, StoreError> {
    session.forget(poll);
    Ok(execute(&mut session.connection, query(statements::ARCHIVE).bind(blob(poll))).await? > 0)
}

pub(super) async fn make_transitions(session: &mut Session, now: Timestamp) -> Result<Transitions, StoreError> {
    let due = find(&mut session.connection, query(statements::TRANSITION).bind(now.as_micros())).await?;
    let mut changed = due.iter().map(poll_id).collect::<Result<Vec<PollId>, StoreError>>()?;
    changed.sort_unstable();
    changed.iter().for_each(|&poll| session.forget(poll));
    let next = find(&mut session.connection, query(statements::NEXT_TRANSITION)).await?;
    let next = column(sound(next.first(), "the next transition")?, "next")?;
    Ok(Transitions { changed, next: sound(rows::optional_time(next), "the next transition")? })
}

pub(super) async fn apply(session: &mut Session, batch: Batch, epoch: u64) -> Result<Applied, StoreError> {
    move_checkpoints(&mut session.connection, &batch).await?;
    if batch.is_empty() {
        execute(&mut session.connection, query(statements::PROBE)).await?;
        return Ok(Applied::default());
    }
    session.know_polls(&batch, epoch).await?;
    let (mut ballots, kept_votes) = find_ballots(session, &batch).await?;
    let takes_votes = |id| session.known().get(&id).filter(|kept| !kept.archived).map(|kept| &kept.snapshot.poll);
    let settlement = settle(&batch, takes_votes, &mut ballots);
    let changes =
        sqlite_rows::changes(&batch, session.known(), &ballots, &kept_votes, &settlement).map_err(StoreError::Damaged)?;
    let tallies = write_changes(session, changes).await?;
    write_dead_letters(&mut session.connection, &batch).await?;
    session.forget_too_many();
    Ok(Applied { outcomes: settlement.outcomes, conflicts: settlement.conflicts, tallies })
}

/// The whole fence: where a checkpoint does not stand where the batch starts, somebody else has applied these records.
async fn move_checkpoints(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    for part in batch.parts() {
        let partition = i64::from(part.partition.0);
        let compare_and_set = query(statements::MOVE_CHECKPOINT)
            .bind(partition)
            .bind(part.first.get())
            .bind(part.next().get())
            .bind(part.last.map(|last| last.0.to_vec()));
        if execute(connection, compare_and_set).await? == 0 {
            let found = find(connection, query(statements::FIND_CHECKPOINT).bind(partition)).await?;
            let found: Option<i64> = found.first().map(|row| column(row, "next_offset")).transpose()?;
            let found = found.and_then(Offset::new).unwrap_or_default();
            return Err(StoreError::Fenced { partition: part.partition, expected: part.first, found });
        }
    }
    Ok(())
}

/// The ballots of the batch, with the past votes that it names, and what of them is in the store.
async fn find_ballots(session: &mut Session, batch: &Batch) -> Result<(Ballots, KeptVotes), StoreError> {
    let may_have_voted = |number, voter| session.may_have_voted(number, voter);
    let ballots_to_find = sqlite_rows::ballots_to_find(batch, session.known(), may_have_voted);
    let standing_rows = if ballots_to_find.is_empty() {
        Vec::new()
    } else {
        find(&mut session.connection, query(statements::FIND_BALLOTS).bind(ballots_to_find.finish())).await?
    };
    let past_to_find = sqlite_rows::past_to_find(batch, session.known(), session.with_past());
    let past_rows = if past_to_find.is_empty() {
        Vec::new()
    } else {
        find(&mut session.connection, query(statements::FIND_PAST).bind(past_to_find.finish())).await?
    };
    let (mut ballots, mut kept_votes) = (Ballots::with_capacity(batch.len()), KeptVotes::default());
    if standing_rows.is_empty() && past_rows.is_empty() {
        return Ok((ballots, kept_votes));
    }
    let polls = sqlite_rows::polls_of(batch);
    let by_number: HashMap<i64, &Poll> =
        polls.iter().filter_map(|id| session.known().get(id)).map(|kept| (kept.number, &kept.snapshot.poll)).collect();
    for row in standing_rows {
        let poll = *sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let standing = standing_vote(&row)?;
        if standing.choices.is_some_and(|choices| choices.highest_index() >= poll.options.len()) {
            return Err(StoreError::Damaged(format!("a vote in the poll {} chooses what it does not have", poll.id)));
        }
        let voter = sound(sqlite_rows::voter_key(column(&row, "voter")?), "the key of a voter")?;
        ballots.entry((poll.id, voter)).or_default().current = Some(standing);
        kept_votes.standing.insert((poll.id, voter));
    }
    for row in past_rows {
        let poll = *sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let voter = sound(sqlite_rows::voter_key(column(&row, "voter")?), "the key of a voter")?;
        let id = sound(sqlite_rows::vote_id(column(&row, "vote_id")?), "the name of a vote")?;
        let past = sound(rows::past_vote(column(&row, "outcome")?, column(&row, "choices")?), "a past vote")?;
        ballots.entry((poll.id, voter)).or_default().past.insert(id, past);
        kept_votes.past.insert((poll.id, voter, id));
    }
    Ok((ballots, kept_votes))
}

/// Answers the tallies that changed.
async fn write_changes(session: &mut Session, changes: Changes) -> Result<Vec<Tally>, StoreError> {
    let Changes { new_votes, replacing_votes, past, options, polls, counts, touched, with_past } = changes;
    write_votes(&mut session.connection, statements::INSERT_VOTES, &new_votes).await?;
    write_votes(&mut session.connection, statements::REPLACE_VOTES, &replacing_votes).await?;
    write_rows(&mut session.connection, statements::WRITE_TOTALS, [options, polls, counts]).await?;
    write_rows(&mut session.connection, statements::WRITE_PAST, [past]).await?;
    session.note_votes(&new_votes);
    touched.iter().for_each(|touched| session.note(touched));
    session.note_past(with_past);
    Ok(touched.into_iter().filter(|touched| touched.is_changed).map(|touched| touched.tally).collect())
}

/// Writes votes by the smallest of the statements that takes them all, and the largest again and again where none does.
async fn write_votes(
    connection: &mut Connection,
    statements: [&'static str; VOTE_ROWS.len()],
    mut votes: &[VoteRow],
) -> Result<(), StoreError> {
    while !votes.is_empty() {
        let size = VOTE_ROWS.iter().position(|&rows| rows >= votes.len()).unwrap_or(VOTE_ROWS.len() - 1);
        let (now, later) = votes.split_at(votes.len().min(VOTE_ROWS[size]));
        let write = now.iter().fold(query(statements[size]), |query, VoteRow { poll, voter, accepted_at, standing }| {
            query
                .bind(*poll)
                .bind(voter.0.to_vec())
                .bind(standing.id.0.as_bytes().to_vec())
                .bind(accepted_at.as_micros())
                .bind(i64::from(standing.position.partition.0))
                .bind(standing.position.offset.get())
                .bind(standing.choices.map(Choices::to_bytes))
        });
        expect_rows(now.len() as u64, execute(connection, write).await?)?;
        votes = later;
    }
    Ok(())
}

async fn write_rows<const PARAMETERS: usize>(
    connection: &mut Connection,
    statement: &'static str,
    rows: [PackedRows; PARAMETERS],
) -> Result<(), StoreError> {
    let expected = rows.iter().map(PackedRows::len).sum();
    if expected == 0 {
        return Ok(());
    }
    let write = rows.into_iter().fold(query(statement), |query, rows| query.bind(rows.finish()));
    expect_rows(expected, execute(connection, write).await?)
}

/// Every row must be new or change: a tally is only right when its votes really were written.
fn expect_rows(expected: u64, written: u64) -> Result<(), StoreError> {
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
