//! The two traits of the `SQLite` store.

use async_trait::async_trait;

use super::folding::{fold, refolding};
use super::rows;
use super::sqlite::{Query, SqliteStore, blob, column, kept_poll, poll_id, query, sound, standing_vote};
use super::sqlite_rows;
use super::sqlite_statements as statements;
use super::sqlite_write::{apply, archive_poll, close_poll, create_poll, make_transitions};
use super::{
    Applied, CountedVote, CreationOrder, Leader, PollFilter, PollSnapshot, PollStore, StoreError, TallyStore, Transitions,
    history_of,
};
use crate::checkpoint::{Batch, Checkpoint, Offset};
use crate::clock::Timestamp;
use crate::model::derive_outcome;
use crate::model::{Ballot, History, HistorySum, OptionId, Poll, PollId, Receipt, Resolution, Steps, Tally, VoterKey};

/// A statement that begins with the six parameters of a filter.
fn filtered(statement: &'static str, filter: &PollFilter, now: Timestamp) -> Query {
    let text = filter.text.as_deref().map(fold);
    let (from, to) = refolding(text.as_deref());
    let query = query(statement).bind(filter.state.map(rows::state_code)).bind(filter.state_at.unwrap_or(now).as_micros());
    query.bind(text).bind(from).bind(to).bind(now.as_micros())
}

/// A limit as a statement takes it.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl PollStore for SqliteStore {
    async fn create(&self, poll: &Poll) -> Result<(), StoreError> {
        let poll = poll.clone();
        self.write_definition(move |session| Box::pin(create_poll(session, poll))).await
    }

    async fn read(&self, poll: PollId) -> Result<Option<PollSnapshot>, StoreError> {
        let rows = self.read_rows(query(statements::READ_POLL).bind(blob(poll))).await?;
        rows.first().map(|row| Ok(kept_poll(row, self.epoch())?.snapshot)).transpose()
    }

    async fn list(
        &self,
        filter: &PollFilter,
        order: CreationOrder,
        after: Option<PollId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<PollSnapshot>, StoreError> {
        // Beyond every identifier, on the side where the list begins.
        let (statement, beyond) = match order {
            CreationOrder::NewestFirst => (statements::LIST_NEWEST_FIRST, [u8::MAX; 16]),
            CreationOrder::OldestFirst => (statements::LIST_OLDEST_FIRST, [u8::MIN; 16]),
        };
        let from = after.map_or(beyond.to_vec(), blob);
        let query = filtered(statement, filter, now).bind(from).bind(limited(limit));
        // Without a filter it reads as many rows as it answers.
        let rows = if *filter == PollFilter::default() { self.read_rows(query).await? } else { self.scan_rows(query).await? };
        rows.iter().map(|row| Ok(kept_poll(row, self.epoch())?.snapshot)).collect()
    }

    async fn rank(&self, filter: &PollFilter, limit: usize, now: Timestamp) -> Result<Vec<PollId>, StoreError> {
        let rows = self.scan_rows(filtered(statements::RANK, filter, now).bind(limited(limit))).await?;
        rows.iter().map(poll_id).collect()
    }

    async fn close(&self, poll: PollId, at: Timestamp) -> Result<Option<PollSnapshot>, StoreError> {
        let epoch = self.epoch();
        self.write_definition(move |session| Box::pin(close_poll(session, poll, at, epoch))).await
    }

    async fn archive(&self, poll: PollId) -> Result<bool, StoreError> {
        self.write_definition(move |session| Box::pin(archive_poll(session, poll))).await
    }

    async fn transition(&self, now: Timestamp) -> Result<Transitions, StoreError> {
        // Nearly every call finds nothing due: then it costs a look at an index, and no transaction.
        let rows = self.read_rows(query(statements::NEXT_TRANSITION)).await?;
        let next = column(sound(rows.first(), "the next transition")?, "next")?;
        let next = sound(rows::optional_time(next), "the next transition")?;
        if next.is_none_or(|next| next > now) {
            return Ok(Transitions { changed: Vec::new(), next });
        }
        self.write(move |session| Box::pin(make_transitions(session, now))).await
    }
}

#[async_trait]
impl TallyStore for SqliteStore {
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let (batch, epoch) = (batch.clone(), self.epoch());
        self.write(move |session| Box::pin(apply(session, batch, epoch))).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let rows = self.read_rows(query(statements::CHECKPOINTS)).await?;
        let partition = |row| {
            let position = rows::position(column(row, "log_partition")?, column(row, "next_offset")?);
            let position = sound(position, "a checkpoint")?;
            let last = sound(rows::optional_digest(column(row, "last_digest")?), "a checkpoint")?;
            Ok((position.partition, position.offset, last))
        };
        rows.iter().map(partition).collect()
    }

    async fn tallies(&self, polls: &[PollId]) -> Result<Vec<Tally>, StoreError> {
        let mut polls = polls.to_vec();
        polls.sort_unstable();
        polls.dedup();
        let rows = self.read_rows(query(statements::TALLIES).bind(sqlite_rows::packed_ids(&polls).finish())).await?;
        let tally = |row| {
            let (version, voters): (i64, i64) = (column(row, "version")?, column(row, "voters")?);
            let tally = sqlite_rows::tally(poll_id(row)?, self.epoch(), version, voters, column(row, "tally")?);
            sound(tally, "a tally")
        };
        rows.iter().map(tally).collect()
    }

    async fn leaders(&self, limit: usize, now: Timestamp) -> Result<Vec<Leader>, StoreError> {
        let query = query(statements::LEADERS).bind(now.as_micros()).bind(limited(limit));
        let rows = self.scan_rows(query).await?;
        let leader = |row| {
            let (option, votes): (i64, i64) = (column(row, "option")?, column(row, "votes")?);
            let option = u64::try_from(option).ok().and_then(OptionId::new);
            let votes = u64::try_from(votes).ok();
            Ok(Leader { poll: poll_id(row)?, option: sound(option, "an option")?, votes: sound(votes, "a tally")? })
        };
        rows.iter().map(leader).collect()
    }

    async fn outcome(&self, receipt: &Receipt) -> Result<Option<Resolution>, StoreError> {
        let query = query(statements::OUTCOME)
            .bind(blob(receipt.poll))
            .bind(receipt.voter.0.to_vec())
            .bind(receipt.vote_id.0.as_bytes().to_vec())
            .bind(receipt.position.map(|position| i64::from(position.partition.0)));
        let rows = self.read_rows(query).await?;
        let row = sound(rows.first(), "a receipt")?;
        let kept = column::<Option<i64>>(row, "number")?.map(|_| kept_poll(row, self.epoch())).transpose()?;
        let mut ballot = Ballot::default();
        if column::<Option<Vec<u8>>>(row, "vote_id")?.is_some() {
            ballot.current = Some(standing_vote(row)?);
        }
        if let Some(code) = column(row, "outcome")? {
            let past = rows::past_vote(code, column(row, "past_choices")?);
            ballot.past.insert(receipt.vote_id, sound(past, "a past vote")?);
        }
        let next = column::<Option<i64>>(row, "next_offset")?.and_then(Offset::new).unwrap_or_default();
        let passed = receipt.position.is_some_and(|position| next > position.offset);
        Ok(derive_outcome(kept.as_ref().map(|kept| &kept.snapshot.poll), &ballot, receipt, passed))
    }

    async fn standing(&self, poll: PollId, voter: VoterKey) -> Result<Option<CountedVote>, StoreError> {
        let query = query(statements::STANDING).bind(blob(poll)).bind(voter.0.to_vec());
        let rows = self.read_rows(query).await?;
        let vote = |row| standing_vote(row).map(|vote| CountedVote { id: vote.id, choices: vote.choices });
        rows.first().map(vote).transpose()
    }

    async fn history(&self, poll: PollId, steps: Steps) -> Result<Option<History>, StoreError> {
        let query = query(statements::HISTORY)
            .bind(blob(poll))
            .bind(steps.start().as_micros())
            .bind(steps.width_micros())
            .bind(limited(steps.count()));
        let rows = self.scan_rows(query).await?;
        let (mut kept, mut added) = (None, Vec::new());
        for row in &rows {
            match column::<Option<i64>>(row, "step")? {
                None => {
                    let (version, voters): (i64, i64) = (column(row, "version")?, column(row, "voters")?);
                    kept = Some(sqlite_rows::tally(poll, self.epoch(), version, voters, column(row, "tally")?));
                }
                Some(step) => added.push(rows::Added { step, option: column(row, "choices")?, votes: column(row, "votes")? }),
            }
        }
        let Some(tally) = kept else { return Ok(None) };
        let tally = sound(tally, "a tally")?;
        let mut sum = HistorySum::new(steps, tally.totals.votes.len());
        for added in added {
            sound(added.put_into(&mut sum), "what was added to a tally")?;
        }
        history_of(sum, tally).map(Some)
    }
}
