//! Applying a batch in one transaction of PostgreSQL, beside others that apply batches of other partitions.
//!
//! Nothing is locked while votes are decided but the checkpoints of the batch, which keep everybody else from its partitions,
//! and so from the ballots of its voters. The polls, which all partitions share, are locked last, in the order of their numbers,
//! for as long as it takes to add and commit. A poll that was closed or archived since it was looked at is found then, and the
//! batch decided anew.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::postgres_copy::copy_votes;
use super::postgres_lane::{Connection, Held, Query, Stopped, before_commit};
use super::postgres_memory::Memory;
use super::postgres_rows::{self as pg, DeadLetterRow, Keys, PastRow, TotalsRow, VoteRow, column, sound};
use super::postgres_statements as statements;
use super::rows::{self, KeptPast};
use super::settle::{Ballots, Settlement, TallyDelta, settle};
use super::{Applied, StoreError, fence};
use crate::checkpoint::{Batch, Checkpoint, Entry, Offset, PartitionBatch, Position};
use crate::clock::Timestamp;
use crate::model::{PollId, Tally, VoterKey};
use sqlx::postgres::PgRow;

/// Bytes that are kept of a record that cannot be read: more than any vote has, and a bound for rubbish.
const DEAD_LETTER_BYTES_MAX: usize = 64 * 1024;
/// Characters that are kept of the reason why.
const REASON_CHARS_MAX: usize = 1000;
/// Rows from which on COPY is worth its own way into the server.
const COPY_ROWS_MIN: usize = 50;

/// Applies a batch. From the second attempt on nothing that is remembered is trusted.
pub(super) async fn apply(held: &mut Held<Memory>, batch: &Batch, attempt: u32) -> Result<Applied, Stopped> {
    let Held { connection, memory } = held;
    lock_checkpoints(connection, batch).await?;
    if batch.is_empty() {
        execute(connection, query(statements::PROBE)).await?;
        return Ok(Applied::default());
    }
    memory.begin(batch);
    learn_polls(connection, memory, batch).await?;
    let keys = doubtful(memory, batch, attempt > 0);
    let mut ballots = find_ballots(connection, memory, batch, &keys).await?;
    let kept_past = find_past(connection, memory, batch, &keys, &mut ballots).await?;
    let standing: HashMap<(PollId, VoterKey), _> =
        ballots.iter().filter_map(|(&key, ballot)| Some((key, ballot.current?.id))).collect();
    let settlement = settle(batch, |id| memory.poll(id).map(|known| &known.poll), &mut ballots);
    let replaced = |key| standing.get(&key).copied();
    let votes = vote_rows(batch, memory, &ballots, replaced);
    write_votes(connection, votes, attempt > 0).await?;
    write_past(connection, &past_rows(memory, &ballots, &kept_past)).await?;
    write_dead_letters(connection, batch).await?;
    let tallies = add_totals(connection, memory, &settlement).await?;
    move_checkpoints(connection, batch, &settlement).await?;
    Ok(Applied { outcomes: settlement.outcomes, conflicts: settlement.conflicts, tallies })
}

/// The whole fence: where a checkpoint does not stand where the batch starts, somebody else has applied these records.
async fn lock_checkpoints(connection: &mut Connection, batch: &Batch) -> Result<(), Stopped> {
    let numbers: Vec<i32> = batch.parts().iter().map(|part| pg::partition_number(part.partition)).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let mut locked = find(connection, query(statements::LOCK_CHECKPOINTS).bind(numbers.clone())).await?;
    if locked.len() < numbers.len() && batch.parts().iter().any(|part| part.first == Offset::ZERO) {
        // The first batch of a partition. Of two that begin it at once, the second waits here for the first.
        execute(connection, query(statements::BEGIN_PARTITIONS).bind(numbers.clone())).await?;
        locked = find(connection, query(statements::LOCK_CHECKPOINTS).bind(numbers)).await?;
    }
    let checkpoint: Checkpoint = locked.iter().map(checkpoint_row).collect::<Result<_, _>>()?;
    Ok(fence(batch, &checkpoint)?)
}

/// Where a locked checkpoint stands.
fn checkpoint_row(row: &PgRow) -> Result<(crate::checkpoint::Partition, Offset), StoreError> {
    Ok((pg::partition(row)?, sound(Offset::new(column(row, "next_offset")?), "a checkpoint")?))
}

/// Reads the polls of the batch that are not known yet.
async fn learn_polls(connection: &mut Connection, memory: &mut Memory, batch: &Batch) -> Result<(), StoreError> {
    let named: HashSet<PollId> = rows::votes_of(batch).map(|vote| vote.poll).collect();
    let unknown: Vec<_> = named.into_iter().filter(|&id| memory.poll(id).is_none()).map(PollId::as_uuid).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    for row in find(connection, query(statements::FIND_POLLS).bind(unknown)).await? {
        let kept = pg::kept_poll(&row)?;
        // An archived poll takes no votes, like one that never was.
        if !kept.archived {
            let is_empty = kept.last_accepted_at.is_none() && !column::<bool>(&row, "has_past")?;
            memory.learn(kept.number, kept.snapshot.poll, is_empty);
        }
    }
    Ok(())
}

/// The votes whose voters may have a ballot already.
fn doubtful(memory: &Memory, batch: &Batch, all: bool) -> Keys {
    let mut wanted = HashSet::new();
    for part in batch.parts() {
        for vote in rows::votes_in(part) {
            let Some(known) = memory.poll(vote.poll) else { continue };
            if all || !memory.is_surely_new(part.partition, known, vote.voter) {
                wanted.insert((known.number, vote.voter, vote.id));
            }
        }
    }
    Keys::of(wanted)
}

/// The polls of the batch by the numbers that stand for them.
fn by_number(memory: &Memory, batch: &Batch) -> HashMap<i64, (PollId, usize)> {
    let known = rows::votes_of(batch).filter_map(|vote| memory.poll(vote.poll));
    known.map(|known| (known.number, (known.poll.id, known.poll.options.len()))).collect()
}

async fn find_ballots(connection: &mut Connection, memory: &Memory, batch: &Batch, keys: &Keys) -> Result<Ballots, StoreError> {
    let mut ballots = Ballots::with_capacity(batch.len());
    if keys.polls.is_empty() {
        return Ok(ballots);
    }
    let mut pairs: Vec<_> = keys.polls.iter().copied().zip(keys.voters.iter().copied()).collect();
    pairs.dedup();
    let (polls, voters): (Vec<i64>, Vec<uuid::Uuid>) = pairs.into_iter().unzip();
    let by_number = by_number(memory, batch);
    for row in find(connection, query(statements::FIND_BALLOTS).bind(polls).bind(voters)).await? {
        let &(poll, options) = sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let standing = pg::standing_vote(&row)?;
        if standing.choices.is_some_and(|choices| choices.highest_index() >= options) {
            return Err(StoreError::Damaged(format!("a vote in the poll {poll} chooses what it does not have")));
        }
        ballots.entry((poll, pg::voter(&row)?)).or_default().current = Some(standing);
    }
    Ok(ballots)
}

/// Adds to the ballots the past votes that the batch names, and answers which they are. Only those, and not all of a ballot: a voter
/// who changes a vote endlessly must not make each later batch slower.
async fn find_past(
    connection: &mut Connection,
    memory: &Memory,
    batch: &Batch,
    keys: &Keys,
    ballots: &mut Ballots,
) -> Result<KeptPast, StoreError> {
    let mut kept_past = KeptPast::new();
    let mut polls = keys.polls.clone();
    polls.dedup();
    if polls.is_empty() {
        return Ok(kept_past);
    }
    let with_past = find(connection, query(statements::FIND_POLLS_WITH_PAST).bind(polls)).await?;
    let with_past: HashSet<i64> = with_past.iter().map(|row| column(row, "poll")).collect::<Result<_, _>>()?;
    if with_past.is_empty() {
        return Ok(kept_past);
    }
    let mut wanted = Keys::default();
    for (index, poll) in keys.polls.iter().enumerate().filter(|(_, poll)| with_past.contains(poll)) {
        wanted.polls.push(*poll);
        wanted.voters.push(keys.voters[index]);
        wanted.votes.push(keys.votes[index]);
    }
    let by_number = by_number(memory, batch);
    let query = query(statements::FIND_PAST).bind(wanted.polls).bind(wanted.voters).bind(wanted.votes);
    for row in find(connection, query).await? {
        let &(poll, _) = sound(by_number.get(&column(&row, "poll")?), "the poll of a vote")?;
        let (voter, id) = (pg::voter(&row)?, pg::vote_id(&row)?);
        ballots.entry((poll, voter)).or_default().past.insert(id, pg::past_vote(&row, "choices")?);
        kept_past.insert((poll, voter, id));
    }
    Ok(kept_past)
}

/// The votes of this batch that stand, in the order of the table, so that neighbouring rows land on the same page.
fn vote_rows(
    batch: &Batch,
    memory: &Memory,
    ballots: &Ballots,
    replaced: impl Fn((PollId, VoterKey)) -> Option<crate::model::VoteId>,
) -> Vec<VoteRow> {
    let row = |(&(poll, voter), ballot): (&(PollId, VoterKey), &crate::model::Ballot)| {
        let vote = ballot.current?;
        let accepted_at = rows::vote_at(batch, vote)?.accepted_at;
        Some(VoteRow { poll: memory.poll(poll)?.number, voter, accepted_at, vote, replaced: replaced((poll, voter)) })
    };
    let mut rows: Vec<VoteRow> = ballots.iter().filter_map(row).collect();
    rows.sort_unstable_by_key(|row| (row.poll, row.voter));
    rows
}

/// Writes votes, every one of which must really be new or replace the one that it was decided by.
async fn write_votes(connection: &mut Connection, rows: Vec<VoteRow>, carefully: bool) -> Result<(), Stopped> {
    let (replacing, new): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.replaced.is_some());
    if !new.is_empty() {
        let written = if carefully || new.len() < COPY_ROWS_MIN {
            execute(connection, pg::bind_votes(query(statements::ADD_VOTES), &new)).await?
        } else {
            copy_votes(connection, &new).await?
        };
        expect_rows(written, new.len())?;
    }
    if !replacing.is_empty() {
        let replaced: Vec<_> = replacing.iter().filter_map(|row| Some(row.replaced?.0)).collect();
        let written = execute(connection, pg::bind_votes(query(statements::REPLACE_VOTES), &replacing).bind(replaced)).await?;
        expect_rows(written, replacing.len())?;
    }
    Ok(())
}

fn past_rows(memory: &Memory, ballots: &Ballots, kept_past: &KeptPast) -> Vec<PastRow> {
    let mut rows = Vec::new();
    for (&(poll, voter), ballot) in ballots {
        let Some(known) = memory.poll(poll) else { continue };
        let new = ballot.past.iter().filter(|(id, _)| !kept_past.contains(&(poll, voter, **id)));
        rows.extend(new.map(|(&id, &past)| PastRow { poll: known.number, voter, id, past }));
    }
    rows.sort_unstable_by_key(|row| (row.poll, row.voter, row.id));
    rows
}

async fn write_past(connection: &mut Connection, rows: &[PastRow]) -> Result<(), Stopped> {
    if rows.is_empty() {
        return Ok(());
    }
    let written = execute(connection, pg::bind_past(query(statements::ADD_PAST), rows)).await?;
    expect_rows(written, rows.len())
}

/// Fewer rows than were meant: somebody else has written ballots of these voters, which happens when the number of partitions is
/// changed and a voter moves from one to another.
fn expect_rows(written: u64, meant: usize) -> Result<(), Stopped> {
    if written == meant as u64 { Ok(()) } else { Err(Stopped::Overtaken) }
}

fn dead_letter_row((position, entry): (Position, &Entry)) -> Option<DeadLetterRow<'_>> {
    let Entry::DeadLetter(letter) = entry else { return None };
    // A text of the server has no zero in it.
    let reason = letter.reason.chars().filter(|&character| character != '\0').take(REASON_CHARS_MAX).collect();
    let record_bytes = letter.bytes.len();
    Some(DeadLetterRow { position, reason, record: &letter.bytes[..record_bytes.min(DEAD_LETTER_BYTES_MAX)], record_bytes })
}

/// All in one statement, like everything else: a batch of nothing but rubbish must not take longer than one of votes.
async fn write_dead_letters(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    let rows: Vec<DeadLetterRow<'_>> = batch.positioned().filter_map(dead_letter_row).collect();
    if !rows.is_empty() {
        execute(connection, pg::bind_dead_letters(query(statements::ADD_DEAD_LETTERS), &rows)).await?;
    }
    Ok(())
}

/// Locks the polls that took votes, makes sure that they still are what the votes were decided by, and adds.
async fn add_totals(connection: &mut Connection, memory: &mut Memory, settlement: &Settlement) -> Result<Vec<Tally>, Stopped> {
    let touched: BTreeMap<i64, (PollId, Timestamp)> =
        settlement.accepted.iter().filter_map(|(&id, &accepted_at)| Some((memory.poll(id)?.number, (id, accepted_at)))).collect();
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let locked = find(connection, query(statements::LOCK_POLLS).bind(touched.keys().copied().collect::<Vec<_>>())).await?;
    let (mut changes, mut unchanged) = (Vec::new(), 0);
    for row in &locked {
        let number: i64 = column(row, "number")?;
        let &(id, accepted_at) = sound(touched.get(&number), "a poll")?;
        if !is_as_known(row, memory, id)? {
            continue;
        }
        unchanged += 1;
        changes.extend(change_totals(row, number, settlement.deltas.get(&id), accepted_at)?);
    }
    if unchanged < touched.len() {
        touched.values().for_each(|&(id, _)| memory.forget(id));
        return Err(Stopped::Overtaken);
    }
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    expect_rows(execute(connection, pg::bind_totals(query(statements::WRITE_POLLS), &changes)).await?, changes.len())?;
    let is_counted = |change: &TotalsRow| settlement.deltas.contains_key(&change.tally.poll);
    Ok(changes.into_iter().filter(is_counted).map(|change| change.tally).collect())
}

/// Whether a locked poll still takes votes by the times that are known of it.
fn is_as_known(row: &PgRow, memory: &Memory, id: PollId) -> Result<bool, StoreError> {
    let Some(known) = memory.poll(id) else { return Ok(false) };
    let is_open = !column::<bool>(row, "archived")? && pg::optional_time(row, "closes_at")? == known.poll.closes_at;
    Ok(is_open && pg::poll_id(row)? == id)
}

fn change_totals(
    row: &PgRow,
    number: i64,
    delta: Option<&TallyDelta>,
    accepted_at: Timestamp,
) -> Result<Option<TotalsRow>, StoreError> {
    let mut tally = pg::tally(row)?;
    let before = pg::optional_time(row, "last_accepted_at")?;
    let last_accepted_at = before.map_or(accepted_at, |before| before.max(accepted_at));
    if let Some(delta) = delta {
        delta.add_to(&mut tally).map_err(StoreError::Damaged)?;
    } else if before == Some(last_accepted_at) {
        return Ok(None);
    }
    Ok(Some(TotalsRow { number, tally, last_accepted_at }))
}

async fn move_checkpoints(connection: &mut Connection, batch: &Batch, settlement: &Settlement) -> Result<(), Stopped> {
    let counts = |part: &PartitionBatch| settlement.counts.get(&part.partition).copied().unwrap_or_default();
    let parts: Vec<_> = batch.parts().iter().map(|part| (part, counts(part))).collect();
    let moved = execute(connection, pg::bind_checkpoints(query(statements::MOVE_CHECKPOINTS), &parts)).await?;
    expect_rows(moved, parts.len())
}

pub(super) fn query(statement: &'static str) -> Query {
    sqlx::query(statement)
}

/// Runs a statement that changes something; answers how many rows.
pub(super) async fn execute(connection: &mut Connection, query: Query) -> Result<u64, StoreError> {
    Ok(query.execute(connection).await.map_err(before_commit)?.rows_affected())
}

/// Runs a statement that finds something.
pub(super) async fn find(connection: &mut Connection, query: Query) -> Result<Vec<PgRow>, StoreError> {
    query.fetch_all(connection).await.map_err(before_commit)
}
