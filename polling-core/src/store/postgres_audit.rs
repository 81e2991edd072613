//! A PostgreSQL store as an auditor sees it: beside whoever counts, and in nobody's way.
//!
//! What is compared is read by one statement, or in one transaction that is repeatable read and read only: of one moment, and without a
//! lock. Totals and vote rows change in the same transactions, so what is between them in one moment is between them in every other.
//! That is why mending them needs the poll's row only for as long as a batch does: the difference is found without a lock, and then added to
//! whatever the totals have become.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::StoreError;
use super::postgres_apply::{execute, find, query};
use super::postgres_lane::{Connection, Held, Lane, LaneLimits, Query, Stopped};
use super::postgres_options::{AUDIT_STATEMENT_TIMEOUT, PostgresOptions};
use super::postgres_rows::{checkpoint, column, definition, outcome_counts, poll_id, sound, tally, totals};
use super::postgres_server::{PostgresOpenError, check_schema};
use super::postgres_statements as statements;
use crate::audit::{AuditStore, Counters, KeptPartition, Ledger, LedgerPoll, Mended, Recount};
use crate::checkpoint::Partition;
use crate::model::{OPTIONS_MAX, OptionId, PollId, Tally, Totals};

/// An auditor asks one thing after the other.
const CALLS_MAX: usize = 1;
/// Polls whose definitions are read by one statement: some megabytes with the longest texts.
const PAGE_POLLS: usize = 500;

/// The store of a schema for an auditor. Needs the right to read its tables and, for mending, to change `polls`.
///
/// Dropping a future closes its connection, and so ends what the server does for it, at once or, before version 14 of the server, when a
/// statement has ended.
#[derive(Debug)]
pub struct PostgresAudit {
    reading: Lane<()>,
    mending: Lane<()>,
}

impl PostgresAudit {
    /// Opens the store, whose tables must be there.
    ///
    /// # Errors
    ///
    /// See [`PostgresOpenError`]; tables of another version are left as they are.
    pub async fn open(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        check_schema(options).await?;
        let limits = LaneLimits {
            connections_max: CALLS_MAX,
            calls_max: CALLS_MAX,
            acquire_timeout: options.connect_timeout,
            connect_timeout: options.connect_timeout,
            transaction_timeout: AUDIT_STATEMENT_TIMEOUT,
        };
        let (reading, mending) = (options.for_auditing()?, options.for_mending()?);
        Ok(Self { reading: Lane::new(reading, limits), mending: Lane::new(mending, limits) })
    }

    /// Closes the connections. Every later call is [`StoreError::Unavailable`].
    pub async fn shut_down(&self) {
        self.reading.shut_down().await;
        self.mending.shut_down().await;
    }
}

#[async_trait]
impl AuditStore for PostgresAudit {
    async fn polls(&self, after: Option<PollId>, limit: usize) -> Result<Vec<PollId>, StoreError> {
        let after = after.map_or(Uuid::nil(), PollId::as_uuid);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.reading.find(move || query(statements::POLL_IDS).bind(after).bind(limit)).await?;
        rows.iter().map(poll_id).collect()
    }

    async fn recount(&self, poll: PollId) -> Result<Option<Recount>, StoreError> {
        let recounted = self.reading.transact(
            move |held, _| {
                Box::pin(async move {
                    let found = recount(one_moment(held).await?, poll).await?;
                    Ok(found.map(|(_, recount)| recount))
                })
            },
            |()| (),
        );
        recounted.await
    }

    async fn counters(&self, with_rows: bool) -> Result<Counters, StoreError> {
        let statement = if with_rows { statements::COUNTERS_WITH_ROWS } else { statements::COUNTERS };
        let found = self.reading.transact(
            move |held, _| Box::pin(async move { Ok(find(one_moment(held).await?, query(statement)).await?) }),
            |()| (),
        );
        let rows = found.await?;
        let standing = match rows.first() {
            Some(row) if with_rows => Some(sound(u64::try_from(column::<i64>(row, "standing")?).ok(), "the number of votes")?),
            _ => None,
        };
        Ok(Counters { partitions: kept_partitions(&rows)?, standing })
    }

    async fn ledger(&self, polls: &[PollId]) -> Result<Ledger, StoreError> {
        let wanted: Option<Vec<Uuid>> = (!polls.is_empty()).then(|| polls.iter().map(|poll| poll.as_uuid()).collect());
        let found = self.reading.transact(
            move |held, _| {
                let wanted = wanted.clone();
                Box::pin(async move {
                    let connection = one_moment(held).await?;
                    let partitions = kept_partitions(&find(connection, query(statements::COUNTERS)).await?)?;
                    let is_whole = wanted.is_none();
                    Ok(Ledger { partitions, polls: ledger_polls(connection, wanted).await?, is_whole })
                })
            },
            |()| (),
        );
        found.await
    }

    async fn mend(&self, poll: PollId) -> Result<Option<Mended>, StoreError> {
        self.mending.transact(move |held, _| Box::pin(mend(held, poll)), |()| ()).await
    }
}

/// Makes a transaction that has just begun one of a single moment, which writes nothing.
async fn one_moment(held: &mut Held<()>) -> Result<&mut Connection, StoreError> {
    let connection = &mut held.connection;
    execute(connection, query(statements::ONE_MOMENT)).await?;
    execute(connection, query(statements::NOTICE_LOST_CLIENTS)).await?;
    Ok(connection)
}

/// The number of a poll, and its totals with what its rows add up to.
async fn recount(connection: &mut Connection, poll: PollId) -> Result<Option<(i64, Recount)>, StoreError> {
    let found = find(connection, query(statements::FIND_ANY_NUMBER).bind(poll.as_uuid())).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let number: i64 = column(row, "number")?;
    // Planned for this poll: one of ten votes and one of ten millions want different plans.
    let rows = find(connection, query(statements::RECOUNT).bind(number).persistent(false)).await?;
    let (mut kept, mut added) = (None, Vec::new());
    for row in &rows {
        match column::<Option<i64>>(row, "votes")? {
            None => kept = Some(row),
            Some(votes) => {
                let votes = sound(u64::try_from(votes).ok(), "a sum of votes")?;
                added.push((column::<Option<&[u8]>>(row, "choices")?, votes));
            }
        }
    }
    let kept = sound(kept, "a poll")?;
    let options = sound(usize::try_from(column::<i32>(kept, "options")?).ok(), "the options of a poll")?;
    let mut found = Totals::zero(options);
    for (choices, votes) in added {
        let Some(choices) = choices else {
            found.voters = votes;
            continue;
        };
        let option = sound(choices.first().and_then(|&option| OptionId::new(option.into())), "the choices of a vote")?;
        if found.votes.len() <= option.index() {
            found.votes.resize(option.index() + 1, 0);
        }
        found.votes[option.index()] = votes;
    }
    Ok(Some((number, Recount { poll, options, kept: totals(kept)?, found })))
}

fn kept_partitions(rows: &[PgRow]) -> Result<BTreeMap<Partition, KeptPartition>, StoreError> {
    let mut partitions = BTreeMap::new();
    for row in rows {
        if column::<Option<i32>>(row, "log_partition")?.is_some() {
            let (partition, next, last) = checkpoint(row)?;
            partitions.insert(partition, KeptPartition { next, last, counts: outcome_counts(row)? });
        }
    }
    Ok(partitions)
}

/// Page by page, all in the transaction of one moment.
async fn ledger_polls(
    connection: &mut Connection,
    wanted: Option<Vec<Uuid>>,
) -> Result<BTreeMap<PollId, LedgerPoll>, StoreError> {
    let limit = i64::try_from(PAGE_POLLS).unwrap_or(i64::MAX);
    let mut polls = BTreeMap::new();
    let mut after = Uuid::nil();
    loop {
        let page: Query = query(statements::LEDGER_POLLS).bind(wanted.clone()).bind(after).bind(limit);
        let rows = find(connection, page).await?;
        for row in &rows {
            let poll = definition(row)?;
            after = poll.id.as_uuid();
            polls.insert(poll.id, LedgerPoll { poll, archived: column(row, "archived")?, kept: totals(row)? });
        }
        if rows.len() < PAGE_POLLS {
            return Ok(polls);
        }
    }
}

/// Adds what is missing to the totals. Statements here see what was committed before each of them.
async fn mend(held: &mut Held<()>, poll: PollId) -> Result<Option<Mended>, Stopped> {
    let connection = &mut held.connection;
    execute(connection, query(statements::LOCK_MENDING)).await?;
    let Some((number, before)) = recount(connection, poll).await? else { return Ok(None) };
    if before.differences().is_empty() {
        return Ok(Some(Mended { before, tally: None }));
    }
    let locked = find(connection, query(statements::LOCK_POLLS).bind(vec![number])).await?;
    let mut tally: Tally = tally(sound(locked.first(), "a poll")?)?;
    // Below zero only when somebody has changed the totals by hand in this moment.
    tally.totals = corrected(&tally.totals, &before).ok_or(Stopped::Overtaken)?;
    tally.version.number += 1;
    let numbers: Vec<i64> = tally.totals.votes.iter().map(|votes| votes.cast_signed()).collect();
    let mend = query(statements::MEND).bind(number).bind(tally.totals.voters.cast_signed()).bind(numbers);
    execute(connection, mend).await?;
    Ok(Some(Mended { before, tally: Some(tally) }))
}

/// The totals as they are now, with what was wrong with them a moment ago made good.
fn corrected(now: &Totals, before: &Recount) -> Option<Totals> {
    let of = |votes: &[u64], index: usize| votes.get(index).copied().unwrap_or_default();
    let made_good = |now: u64, kept: u64, found: u64| (now + found).checked_sub(kept);
    let votes = (0..before.options.min(OPTIONS_MAX))
        .map(|index| made_good(of(&now.votes, index), of(&before.kept.votes, index), of(&before.found.votes, index)));
    Some(Totals { voters: made_good(now.voters, before.kept.voters, before.found.voters)?, votes: votes.collect::<Option<_>>()? })
}
