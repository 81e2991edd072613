//! Writing many new votes at once: the binary form of COPY, which costs about half of an insert that looks for conflicts.

use super::postgres_lane::Stopped;
use super::postgres_lane::{Connection, UNIQUE_VIOLATION, before_commit, sql_state};
use super::postgres_rows::{VoteRow, partition_number};
use super::postgres_statements as statements;
use crate::model::Choices;

/// How the binary form begins: a signature, no flags, no more of a header.
/// <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// How it ends.
const TRAILER: i16 = -1;
const COLUMNS: i16 = 7;
/// Bytes of a row with one choice, with the length before each field.
const ROW_BYTES: usize = 2 + 7 * 4 + 3 * 8 + 4 + 2 * 16 + 1;

/// Writes new rows of `votes`. That one of them is there already means that the decisions were made without knowing it.
pub(super) async fn copy_votes(connection: &mut Connection, rows: &[VoteRow]) -> Result<u64, Stopped> {
    let mut copy = connection.copy_in_raw(statements::COPY_VOTES).await.map_err(before_commit)?;
    copy.send(encode(rows)).await.map_err(before_commit)?;
    match copy.finish().await {
        Ok(written) => Ok(written),
        Err(error) if sql_state(&error).is_some_and(|state| state == UNIQUE_VIOLATION) => Err(Stopped::Overtaken),
        Err(error) => Err(before_commit(error).into()),
    }
}

fn encode(rows: &[VoteRow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER.len() + rows.len() * ROW_BYTES + 2);
    bytes.extend_from_slice(HEADER);
    for row in rows {
        bytes.extend_from_slice(&COLUMNS.to_be_bytes());
        field(&mut bytes, &row.poll.to_be_bytes());
        field(&mut bytes, &row.accepted_at.as_micros().to_be_bytes());
        field(&mut bytes, &row.vote.position.offset.get().to_be_bytes());
        field(&mut bytes, &partition_number(row.vote.position.partition).to_be_bytes());
        field(&mut bytes, &row.voter.0);
        field(&mut bytes, row.vote.id.0.as_bytes());
        match row.vote.choices {
            Some(choices) => field(&mut bytes, &Choices::to_bytes(choices)),
            None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    bytes.extend_from_slice(&TRAILER.to_be_bytes());
    bytes
}

/// A field with its length before it. No field is longer than a hundred bytes.
fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}
