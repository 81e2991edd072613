//! Between the rows of the PostgreSQL store and values: columns of what was found, arrays of what is written.

use std::collections::HashSet;
use std::fmt::Write as _;

use sqlx::Row;
use sqlx::postgres::{PgRow, Postgres};
use uuid::Uuid;

use super::postgres_lane::{Query, before_commit};
use super::rows::{self, KeptPoll};
use super::{PollSnapshot, StoreError};
use crate::checkpoint::{Offset, Partition, PartitionBatch, Position, RecordDigest};
use crate::clock::Timestamp;
use crate::model::{Choices, OptionId, OutcomeCounts, OwnerKey, PastVote, Poll, PollId, PollParts, ResultsVisibility};
use crate::model::{StandingVote, Tally, Totals, Version, VoteId, VoterKey};

/// The value of a column.
pub(super) fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    row.try_get(name).map_err(before_commit)
}

/// What a column says, or that the store is damaged.
pub(super) fn sound<T>(value: Option<T>, what: &str) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Damaged(format!("{what} cannot be read")))
}

/// A number that is never negative.
fn count(row: &PgRow, name: &str) -> Result<u64, StoreError> {
    sound(u64::try_from(column::<i64>(row, name)?).ok(), name)
}

pub(super) fn optional_time(row: &PgRow, name: &str) -> Result<Option<Timestamp>, StoreError> {
    sound(rows::optional_time(column(row, name)?), name)
}

pub(super) fn poll_id(row: &PgRow) -> Result<PollId, StoreError> {
    sound(PollId::from_uuid(column(row, "id")?), "the identifier of a poll")
}

pub(super) fn voter(row: &PgRow) -> Result<VoterKey, StoreError> {
    Ok(VoterKey(column::<Uuid>(row, "voter")?.into_bytes()))
}

pub(super) fn vote_id(row: &PgRow) -> Result<VoteId, StoreError> {
    Ok(VoteId(column(row, "vote_id")?))
}

/// The definition of a poll, from the columns of a poll.
pub(super) fn definition(row: &PgRow) -> Result<Poll, StoreError> {
    let owner: Vec<u8> = column(row, "owner")?;
    let poll = PollParts {
        id: poll_id(row)?,
        question: column(row, "question")?,
        options: column(row, "options")?,
        max_choices: sound(u8::try_from(column::<i16>(row, "max_choices")?).ok(), "the choices of a poll")?,
        allow_change: column(row, "allow_change")?,
        results: sound(ResultsVisibility::parse(column(row, "results")?), "who sees the results of a poll")?,
        opens_at: optional_time(row, "opens_at")?,
        closes_at: optional_time(row, "closes_at")?,
        owner: OwnerKey(sound(owner.try_into().ok(), "the owner of a poll")?),
    };
    sound(Poll::from_parts(poll), "a poll")
}

/// A poll as it stands in the store, from the columns of a poll.
pub(super) fn kept_poll(row: &PgRow) -> Result<KeptPoll, StoreError> {
    let poll = definition(row)?.awaiting(optional_time(row, "transition_at")?);
    let tally = tally(row)?;
    if tally.totals.votes.len() != poll.options.len() {
        return Err(StoreError::Damaged(format!("the tally of the poll {} has not its options", poll.id)));
    }
    Ok(KeptPoll {
        number: column(row, "number")?,
        archived: column(row, "archived")?,
        last_accepted_at: optional_time(row, "last_accepted_at")?,
        snapshot: PollSnapshot { poll, tally },
    })
}

pub(super) fn tally(row: &PgRow) -> Result<Tally, StoreError> {
    let version = Version { epoch: count(row, "epoch")?, number: count(row, "version")? };
    Ok(Tally { poll: poll_id(row)?, version, totals: totals(row)? })
}

/// The totals that are kept, whether or not they are those of the poll's options.
pub(super) fn totals(row: &PgRow) -> Result<Totals, StoreError> {
    let votes: Vec<i64> = column(row, "tally")?;
    let votes = sound(votes.into_iter().map(|votes| u64::try_from(votes).ok()).collect(), "a tally")?;
    Ok(Totals { voters: count(row, "voters")?, votes })
}

/// A vote or retraction that stands, as a row of `votes`.
pub(super) fn standing_vote(row: &PgRow) -> Result<StandingVote, StoreError> {
    let partition = partition(row)?;
    let position = rows::position(partition.0.into(), column(row, "log_offset")?);
    Ok(StandingVote {
        id: vote_id(row)?,
        choices: sound(rows::optional_choices(column(row, "choices")?), "the choices of a vote")?,
        position: sound(position, "the position of a vote")?,
    })
}

/// A past vote, with its choices in the column of this name.
pub(super) fn past_vote(row: &PgRow, choices: &str) -> Result<PastVote, StoreError> {
    let outcome: i16 = column(row, "outcome")?;
    sound(rows::past_vote(outcome.into(), column(row, choices)?), "a past vote")
}

pub(super) fn partition(row: &PgRow) -> Result<Partition, StoreError> {
    Ok(Partition(column::<i32>(row, "log_partition")?.cast_unsigned()))
}

/// A row of `checkpoints`, whole.
pub(super) fn checkpoint(row: &PgRow) -> Result<(Partition, Offset, Option<RecordDigest>), StoreError> {
    let next = sound(Offset::new(column(row, "next_offset")?), "a checkpoint")?;
    let last = sound(rows::optional_digest(column(row, "last_digest")?), "a checkpoint")?;
    Ok((partition(row)?, next, last))
}

/// How the records of a partition ended, from a row of `checkpoints`.
pub(super) fn outcome_counts(row: &PgRow) -> Result<OutcomeCounts, StoreError> {
    Ok(OutcomeCounts {
        counted: count(row, "counted")?,
        superseded: count(row, "superseded")?,
        duplicate: count(row, "duplicate")?,
        late: count(row, "late")?,
        invalid: count(row, "invalid")?,
        repeated: count(row, "repeated")?,
    })
}

pub(super) fn option_id(row: &PgRow) -> Result<OptionId, StoreError> {
    sound(OptionId::new(count(row, "option")?), "an option")
}

pub(super) fn votes(row: &PgRow) -> Result<u64, StoreError> {
    count(row, "votes")
}

/// A partition as the store writes it: no log has so many that the sign would be needed.
pub(super) const fn partition_number(partition: Partition) -> i32 {
    partition.0.cast_signed()
}

/// The key of a voter as the store writes it: 16 bytes of a fixed length.
pub(super) const fn voter_uuid(voter: VoterKey) -> Uuid {
    Uuid::from_bytes(voter.0)
}

/// A row of `votes`.
#[derive(Debug)]
pub(super) struct VoteRow {
    pub(super) poll: i64,
    pub(super) voter: VoterKey,
    pub(super) accepted_at: Timestamp,
    pub(super) vote: StandingVote,
    /// The vote that stood before; `None`: the voter had none.
    pub(super) replaced: Option<VoteId>,
}

/// Binds the columns of `votes`.
pub(super) fn bind_votes(query: Query, rows: &[VoteRow]) -> Query {
    let positions = rows.iter().map(|row| row.vote.position);
    query
        .bind(rows.iter().map(|row| row.poll).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.accepted_at.as_micros()).collect::<Vec<_>>())
        .bind(positions.clone().map(|position| position.offset.get()).collect::<Vec<_>>())
        .bind(positions.map(|position| partition_number(position.partition)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| voter_uuid(row.voter)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.vote.id.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.vote.choices.map(Choices::to_bytes)).collect::<Vec<_>>())
}

/// A row of `past_votes`.
#[derive(Debug)]
pub(super) struct PastRow {
    pub(super) poll: i64,
    pub(super) voter: VoterKey,
    pub(super) id: VoteId,
    pub(super) past: PastVote,
}

/// Binds the columns of `past_votes`.
pub(super) fn bind_past(query: Query, rows: &[PastRow]) -> Query {
    query
        .bind(rows.iter().map(|row| row.poll).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| voter_uuid(row.voter)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.id.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| i16::from(row.past.outcome.code())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.past.kind.choices().map(Choices::to_bytes)).collect::<Vec<_>>())
}

/// What a batch changes in a poll.
#[derive(Debug)]
pub(super) struct TotalsRow {
    pub(super) number: i64,
    pub(super) tally: Tally,
    pub(super) last_accepted_at: Timestamp,
}

/// Binds what changes in polls.
pub(super) fn bind_totals(query: Query, rows: &[TotalsRow]) -> Query {
    query
        .bind(rows.iter().map(|row| row.number).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.tally.version.number.cast_signed()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.tally.totals.voters.cast_signed()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.last_accepted_at.as_micros()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| array_text(&row.tally.totals.votes)).collect::<Vec<_>>())
}

/// An array in an array, which is only a text on its way: the server wants all rows of a matrix to be of one length.
fn array_text(numbers: &[u64]) -> String {
    let mut text = String::with_capacity(2 + 4 * numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        // Writing into a string cannot fail.
        let _infallible = write!(text, "{number}");
    }
    text.push('}');
    text
}

/// Binds how far a batch moves its partitions, and how its records ended.
pub(super) fn bind_checkpoints(query: Query, parts: &[(&PartitionBatch, OutcomeCounts)]) -> Query {
    let query = query
        .bind(parts.iter().map(|(part, _)| partition_number(part.partition)).collect::<Vec<_>>())
        .bind(parts.iter().map(|(part, _)| part.first.get()).collect::<Vec<_>>())
        .bind(parts.iter().map(|(part, _)| part.next().get()).collect::<Vec<_>>());
    let columns: [fn(&OutcomeCounts) -> u64; 6] = [
        |counts| counts.counted,
        |counts| counts.superseded,
        |counts| counts.duplicate,
        |counts| counts.late,
        |counts| counts.invalid,
        |counts| counts.repeated,
    ];
    // At most the records of a batch, which a machine can hold, so the sign bit is never set.
    let column = |of: fn(&OutcomeCounts) -> u64| parts.iter().map(|(_, counts)| of(counts).cast_signed()).collect::<Vec<_>>();
    let query = columns.into_iter().fold(query, |query, of| query.bind(column(of)));
    query.bind(parts.iter().map(|(part, _)| part.last.map(|last| last.0.to_vec())).collect::<Vec<_>>())
}

/// A row of `dead_letters`.
#[derive(Debug)]
pub(super) struct DeadLetterRow<'a> {
    pub(super) position: Position,
    pub(super) reason: String,
    /// As much of the record as is kept.
    pub(super) record: &'a [u8],
    pub(super) record_bytes: usize,
}

/// Binds the columns of `dead_letters`.
pub(super) fn bind_dead_letters(query: Query, rows: &[DeadLetterRow<'_>]) -> Query {
    query
        .bind(rows.iter().map(|row| partition_number(row.position.partition)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.position.offset.get()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reason.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.record.to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| i64::try_from(row.record_bytes).unwrap_or(i64::MAX)).collect::<Vec<_>>())
}

/// Polls, voters and the names of votes, to be looked for.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) polls: Vec<i64>,
    pub(super) voters: Vec<Uuid>,
    pub(super) votes: Vec<Uuid>,
}

impl Keys {
    /// The keys in the order of the index, which is the fastest to look them up.
    pub(super) fn of(wanted: HashSet<(i64, VoterKey, VoteId)>) -> Self {
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_unstable();
        let mut keys = Self::default();
        for (poll, voter, vote) in wanted {
            keys.polls.push(poll);
            keys.voters.push(voter_uuid(voter));
            keys.votes.push(vote.0);
        }
        keys
    }
}
