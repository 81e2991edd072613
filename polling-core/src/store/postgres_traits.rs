//! The two traits of the PostgreSQL store.

use std::sync::Arc;

use async_trait::async_trait;

use super::folding::{fold, refolding};
use super::postgres::PostgresStore;
use super::postgres_apply::{apply, query};
use super::postgres_lane::Query;
use super::postgres_polls::{archive_poll, close_poll, create_poll, has_poll, make_transitions};
use super::postgres_rows;
use super::postgres_rows::{column, kept_poll, option_id, optional_time, partition_number, past_vote, poll_id, sound};
use super::postgres_rows::{standing_vote, tally, voter_uuid, votes};
use super::postgres_statements as statements;
use super::rows;
use super::{
    Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError, TallyStore, Transitions,
    history_of,
};
use crate::checkpoint::{Batch, Checkpoint, Offset};
use crate::clock::Timestamp;
use crate::model::{Ballot, History, HistorySum, Poll, PollId, Receipt, Resolution, Steps, Tally, VoterKey, derive_outcome};

/// A statement that begins with the six parameters of a filter.
fn filtered(statement: &'static str, filter: &PollFilter, now: Timestamp) -> Query {
    let text = filter.text.as_deref().map(fold);
    let (from, to) = refolding(text.as_deref());
    let query = query(statement).bind(filter.state.map(rows::state_code)).bind(filter.state_at.unwrap_or(now).as_micros());
    query.bind(text).bind(from).bind(to).bind(now.as_micros())
}

/// No question has a zero in it, and the server takes no text that has.
fn finds_nothing(filter: &PollFilter) -> bool {
    filter.text.as_ref().is_some_and(|text| text.contains('\0'))
}

/// A limit as a statement takes it.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl PollStore for PostgresStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        let poll = Arc::new(poll.clone());
        self.define(move |held, _| {
            let poll = Arc::clone(&poll);
            Box::pin(async move { Ok(create_poll(&mut held.connection, &poll).await?) })
        })
        .await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        let rows = self.read_rows(move || query(statements::READ_POLL).bind(poll.as_uuid())).await?;
        rows.first().map(|row| Ok(kept_poll(row)?.snapshot)).transpose()
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        if finds_nothing(filter) {
            return Ok(Vec::new());
        }
        // Beyond every identifier, on the side where the list begins.
        let (statement, beyond) = match order {
            CreationOrder::NewestFirst => (statements::LIST_NEWEST_FIRST, uuid::Uuid::max()),
            CreationOrder::OldestFirst => (statements::LIST_OLDEST_FIRST, uuid::Uuid::nil()),
        };
        let from = after.map_or(beyond, PollId::as_uuid);
        let wanted = filter.clone();
        let query = move || filtered(statement, &wanted, now).bind(from).bind(limited(limit));
        // Without a filter it reads as many rows as it answers.
        let rows = if *filter == PollFilter::default() { self.read_rows(query).await? } else { self.scan_rows(query).await? };
        rows.iter().map(|row| Ok(kept_poll(row)?.snapshot)).collect()
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        if finds_nothing(filter) {
            return Ok(Vec::new());
        }
        let filter = filter.clone();
        let rows = self.scan_rows(move || filtered(statements::RANK, &filter, now).bind(limited(limit))).await?;
        rows.iter().map(poll_id).collect()
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        self.define(move |held, _| Box::pin(async move { Ok(close_poll(&mut held.connection, poll, at).await?) })).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        self.define(move |held, _| Box::pin(async move { Ok(archive_poll(&mut held.connection, poll).await?) })).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        // Nearly every call finds nothing due: then it costs a look at an index, and no transaction.
        let rows = self.read_rows(|| query(statements::NEXT_TRANSITION)).await?;
        let next = optional_time(sound(rows.first(), "the next transition")?, "next")?;
        if next.is_none_or(|next| next > now) {
            return Ok(Transitions { changed: Vec::new(), next });
        }
        self.define(move |held, _| Box::pin(async move { Ok(make_transitions(&mut held.connection, now).await?) })).await
    }
}

#[async_trait]
impl TallyStore for PostgresStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let batch = Arc::new(batch.clone());
        let applied = Arc::clone(&batch);
        self.count(
            move |held, attempt| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { apply(held, &batch, attempt).await })
            },
            move |memory| memory.committed(&applied),
        )
        .await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.read_rows(|| query(statements::CHECKPOINTS)).await?.iter().map(postgres_rows::checkpoint).collect()
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        let polls: Vec<_> = polls.iter().copied().map(PollId::as_uuid).collect();
        let rows = self.read_rows(move || query(statements::TALLIES).bind(polls.clone())).await?;
        rows.iter().map(tally).collect()
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        let rows = self.scan_rows(move || query(statements::LEADERS).bind(now.as_micros()).bind(limited(limit))).await?;
        rows.iter().map(|row| Ok(Leader { poll: poll_id(row)?, option: option_id(row)?, votes: votes(row)? })).collect()
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        let receipt = *receipt;
        let find = move || {
            query(statements::OUTCOME)
                .bind(receipt.poll.as_uuid())
                .bind(voter_uuid(receipt.voter))
                .bind(receipt.vote_id.0)
                .bind(receipt.position.map(|position| partition_number(position.partition)))
        };
        let rows = self.read_rows(find).await?;
        let row = sound(rows.first(), "a receipt")?;
        let kept = if has_poll(row)? { Some(kept_poll(row)?) } else { None };
        let mut ballot = Ballot::default();
        if column::<Option<uuid::Uuid>>(row, "vote_id")?.is_some() {
            ballot.current = Some(standing_vote(row)?);
        }
        if column::<Option<i16>>(row, "outcome")?.is_some() {
            ballot.past.insert(receipt.vote_id, past_vote(row, "past_choices")?);
        }
        let next = column::<Option<i64>>(row, "next_offset")?.and_then(Offset::new).unwrap_or_default();
        let passed = receipt.position.is_some_and(|position| next > position.offset);
        Ok(derive_outcome(kept.as_ref().map(|kept| &kept.snapshot.poll), &ballot, &receipt, passed))
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        let find = move || query(statements::STANDING).bind(poll.as_uuid()).bind(voter_uuid(voter));
        let rows = self.read_rows(find).await?;
        let vote = |row| standing_vote(row).map(|vote| CountedVote { id: vote.id, choices: vote.choices });
        rows.first().map(vote).transpose()
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        // The number of a poll never changes, so the two statements need not be of one moment.
        let found = self.read_rows(move || query(statements::FIND_NUMBER).bind(poll.as_uuid())).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let number: i64 = column(row, "number")?;
        let find = move || {
            let history = query(statements::HISTORY).bind(number).bind(steps.start().as_micros());
            history.bind(steps.width_micros()).bind(limited(steps.count())).persistent(false)
        };
        let rows = self.scan_rows(find).await?;
        let (mut kept, mut added) = (None, Vec::new());
        for row in &rows {
            match column::<Option<i64>>(row, "step")? {
                None => kept = Some(tally(row)?),
                Some(step) => added.push(rows::Added { step, option: column(row, "choices")?, votes: column(row, "votes")? }),
            }
        }
        let Some(tally) = kept else { return Ok(None) };
        let mut sum = HistorySum::new(steps, tally.totals.votes.len());
        for added in added {
            sound(added.put_into(&mut sum), "what was added to a tally")?;
        }
        history_of(sum, tally).map(Some)
    }
}
