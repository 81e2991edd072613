//! Every statement that the `SQLite` store runs. Constants, so that none can be put together from what somebody sends.
//!
//! Statements with one parameter `?1` of packed rows take fields by their place: see [`PackedRows`](super::sqlite_rows::PackedRows).

/// The columns of a poll, and the tables that they are in.
macro_rules! select_polls {
    ($more:literal, $from:literal) => {
        concat!(
            "SELECT polls.number, polls.id, polls.archived, polls.version, polls.voters, polls.max_choices, \
             polls.allow_change, polls.results, polls.opens_at, polls.closes_at, polls.transition_at, \
             polls.last_accepted_at, polls.owner, \
             poll_texts.question, poll_texts.options, \
             (SELECT json_group_array(votes ORDER BY option) FROM tallies WHERE poll = polls.number) AS tally",
            $more,
            " FROM ",
            $from
        )
    };
}

/// `?1` the state or NULL for any, as [`Poll::state_listed`](crate::model::Poll::state_listed) has it at `?2` when it is `?6` now, `?3`
/// the folded text or NULL for any, `?4` and `?5` see [`refolding`](super::folding::refolding).
macro_rules! polls_that_match {
    () => {
        " polls.archived = 0 \
         AND (?1 IS NULL OR ?1 = CASE WHEN polls.closes_at <= ?2 OR (polls.closes_at > ?6 AND polls.transition_at IS NULL) THEN 2 \
         WHEN polls.opens_at > ?2 AND NOT (polls.opens_at > ?6 AND (polls.transition_at IS NULL OR polls.opens_at < polls.transition_at) \
         AND (polls.closes_at IS NULL OR polls.opens_at < polls.closes_at)) THEN 0 ELSE 1 END) \
         AND (?3 IS NULL OR instr(replace(poll_texts.question_folded, ?4, ?5), ?3) > 0) "
    };
}

/// The statements that write votes. Rows that get no parameters are rows of NULL, and are left out.
macro_rules! vote_statements {
    ($verb:literal) => {
        [
            vote_statements!($verb, repeated!(16)),
            vote_statements!($verb, repeated!(128)),
            vote_statements!($verb, repeated!(1024)),
        ]
    };
    ($verb:literal, $rows:expr) => {
        concat!(
            $verb,
            " INTO votes (poll, voter, vote_id, accepted_at, log_partition, log_offset, choices) SELECT * FROM (VALUES ",
            $rows,
            ") WHERE column1 IS NOT NULL"
        )
    };
}

/// The parameters of so many rows.
macro_rules! repeated {
    (2) => {
        "(?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?)"
    };
    (4) => {
        concat!(repeated!(2), ", ", repeated!(2))
    };
    (16) => {
        concat!(repeated!(4), ", ", repeated!(4), ", ", repeated!(4), ", ", repeated!(4))
    };
    (32) => {
        concat!(repeated!(16), ", ", repeated!(16))
    };
    (128) => {
        concat!(repeated!(32), ", ", repeated!(32), ", ", repeated!(32), ", ", repeated!(32))
    };
    (256) => {
        concat!(repeated!(128), ", ", repeated!(128))
    };
    (1024) => {
        concat!(repeated!(256), ", ", repeated!(256), ", ", repeated!(256), ", ", repeated!(256))
    };
}

// Transactions. IMMEDIATE takes the right to write at once, so that no statement after it can find it taken.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

// What the file is.
pub(super) const APPLICATION_ID: &str = "SELECT application_id FROM pragma_application_id";
pub(super) const USER_VERSION: &str = "SELECT user_version FROM pragma_user_version";
pub(super) const QUICK_CHECK: &str = "SELECT quick_check FROM pragma_quick_check LIMIT 1";
/// Tables other than the list of migrations, which is made before the first migration runs.
pub(super) const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'";
pub(super) const NEWEST_MIGRATION: &str = "SELECT max(version) FROM _sqlx_migrations";
pub(super) const CHECKPOINT_WAL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
pub(super) const EPOCH: &str = "SELECT epoch FROM store";
pub(super) const PROBE: &str = "UPDATE store SET probe = probe + 1";

// Polls.
pub(super) const CREATE_POLL: &str = "INSERT INTO polls (id, version, voters, max_choices, allow_change, results, opens_at, closes_at, transition_at, owner) \
     VALUES (?1, 1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING \
     RETURNING number";
pub(super) const CREATE_TEXTS: &str = "INSERT INTO poll_texts (poll, question, question_folded, options) VALUES (?1, ?2, ?3, ?4)";
pub(super) const CREATE_TALLIES: &str = "INSERT INTO tallies (poll, option, votes) \
     SELECT poll_texts.poll, item.key + 1, 0 FROM poll_texts, json_each(poll_texts.options) AS item WHERE poll_texts.poll = ?1";
pub(super) const READ_POLL: &str =
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id = ?1 AND polls.archived = 0");
pub(super) const LIST_NEWEST_FIRST: &str = concat!(
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id < ?7 AND"),
    polls_that_match!(),
    "ORDER BY polls.id DESC LIMIT ?8"
);
pub(super) const LIST_OLDEST_FIRST: &str = concat!(
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id > ?7 AND"),
    polls_that_match!(),
    "ORDER BY polls.id LIMIT ?8"
);
pub(super) const RANK: &str = concat!(
    "SELECT polls.id FROM polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE",
    polls_that_match!(),
    "ORDER BY polls.voters DESC, polls.id LIMIT ?7"
);
pub(super) const CLOSE: &str = "UPDATE polls SET closes_at = ?2, transition_at = NULL, version = version + 1 WHERE number = ?1";
pub(super) const ARCHIVE: &str =
    "UPDATE polls SET archived = 1, transition_at = NULL, version = version + 1 WHERE id = ?1 AND archived = 0";
pub(super) const NEXT_TRANSITION: &str = "SELECT min(transition_at) AS next FROM polls WHERE transition_at IS NOT NULL";
/// After a change of its state, a poll has at most one before it: the close.
pub(super) const TRANSITION: &str = "UPDATE polls SET version = version + 1, \
     transition_at = CASE WHEN closes_at > ?1 THEN closes_at END WHERE transition_at <= ?1 RETURNING id";

// Applying a batch.
/// Compare-and-set from `?2` to `?3`; a partition without a row stands at 0. `?4` is what the last record is recognised by.
pub(super) const MOVE_CHECKPOINT: &str = "INSERT INTO checkpoints (log_partition, next_offset, last_digest) \
     SELECT ?1, ?3, ?4 WHERE ?2 = 0 OR EXISTS (SELECT 1 FROM checkpoints WHERE log_partition = ?1) \
     ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset, last_digest = excluded.last_digest WHERE next_offset = ?2";
pub(super) const FIND_CHECKPOINT: &str = "SELECT next_offset FROM checkpoints WHERE log_partition = ?1";
/// CROSS JOIN here and below is `SQLite`'s way to say: walk through the packed rows, and look each one up.
pub(super) const FIND_POLLS: &str = select_polls!(
    ", EXISTS (SELECT 1 FROM past_votes WHERE poll = polls.number) AS has_past, \
     NOT EXISTS (SELECT 1 FROM votes WHERE poll = polls.number) AS is_empty",
    "json_each(?1) AS item CROSS JOIN polls ON polls.id = unhex(item.value) \
     CROSS JOIN poll_texts ON poll_texts.poll = polls.number"
);
pub(super) const FIND_BALLOTS: &str = "SELECT votes.poll, votes.voter, votes.vote_id, votes.choices, votes.log_partition, votes.log_offset \
     FROM json_each(?1) AS item CROSS JOIN votes ON votes.poll = CAST(substr(item.value, 1, 19) AS INTEGER) \
     AND votes.voter = unhex(substr(item.value, 20, 32))";
pub(super) const FIND_PAST: &str = "SELECT past_votes.poll, past_votes.voter, past_votes.vote_id, \
     past_votes.outcome, past_votes.choices FROM json_each(?1) AS item CROSS JOIN past_votes ON past_votes.poll = CAST(substr(item.value, 1, 19) AS INTEGER) \
     AND past_votes.voter = unhex(substr(item.value, 20, 32)) AND past_votes.vote_id = unhex(substr(item.value, 52, 32))";
/// How many rows of votes the statements of [`INSERT_VOTES`] and [`REPLACE_VOTES`] take.
pub(super) const VOTE_ROWS: [usize; 3] = [16, 128, 1024];
/// Votes of voters who had none, one statement for each of [`VOTE_ROWS`].
///
/// The rows are parameters and not packed, because a statement that calls functions while it writes copies each page first
/// that it changes, in case that a function fails midway. FAIL rather than ABORT for the same reason: where a row is not new,
/// the whole transaction is given up.
pub(super) const INSERT_VOTES: [&str; VOTE_ROWS.len()] = vote_statements!("INSERT OR FAIL");
/// Votes that take the place of others.
pub(super) const REPLACE_VOTES: [&str; VOTE_ROWS.len()] = vote_statements!("REPLACE");
/// What nearly every batch writes beside its votes, in one statement of three, so that one passage to the thread of the database
/// does for all: tallies, polls, and what is added beside the checkpoints. Every row is known to be there. The parameters have
/// no numbers, so that each statement takes the next.
pub(super) const WRITE_TOTALS: &str = "UPDATE tallies SET votes = CAST(substr(item.value, 39, 19) AS INTEGER) FROM json_each(?) AS item \
     WHERE poll = CAST(substr(item.value, 1, 19) AS INTEGER) AND option = CAST(substr(item.value, 20, 19) AS INTEGER); \
     UPDATE polls SET version = CAST(substr(item.value, 20, 19) AS INTEGER), \
     voters = CAST(substr(item.value, 39, 19) AS INTEGER), last_accepted_at = CAST(substr(item.value, 58, 19) AS INTEGER) \
     FROM json_each(?) AS item WHERE polls.number = CAST(substr(item.value, 1, 19) AS INTEGER); \
     UPDATE checkpoints SET counted = counted + CAST(substr(item.value, 20, 19) AS INTEGER), \
     superseded = superseded + CAST(substr(item.value, 39, 19) AS INTEGER), \
     duplicate = duplicate + CAST(substr(item.value, 58, 19) AS INTEGER), late = late + CAST(substr(item.value, 77, 19) AS INTEGER), \
     invalid = invalid + CAST(substr(item.value, 96, 19) AS INTEGER), repeated = repeated + CAST(substr(item.value, 115, 19) AS INTEGER) \
     FROM json_each(?) AS item WHERE log_partition = CAST(substr(item.value, 1, 19) AS INTEGER)";
pub(super) const WRITE_PAST: &str = "INSERT INTO past_votes (poll, voter, vote_id, outcome, choices) \
     SELECT CAST(substr(value, 1, 19) AS INTEGER), unhex(substr(value, 20, 32)), unhex(substr(value, 52, 32)), \
     CAST(substr(value, 84, 19) AS INTEGER), nullif(unhex(substr(value, 103)), x'') FROM json_each(?1)";
/// In the place of an older one only when a person has had the partition counted from its beginning again.
pub(super) const WRITE_DEAD_LETTER: &str =
    "REPLACE INTO dead_letters (log_partition, log_offset, reason, record, record_bytes) VALUES (?1, ?2, ?3, ?4, ?5)";

// Reading what was applied.
pub(super) const CHECKPOINTS: &str = "SELECT log_partition, next_offset, last_digest FROM checkpoints";
pub(super) const TALLIES: &str = "SELECT polls.id, polls.version, polls.voters, \
     (SELECT json_group_array(votes ORDER BY option) FROM tallies WHERE poll = polls.number) AS tally \
     FROM json_each(?1) AS item CROSS JOIN polls ON polls.id = unhex(item.value) WHERE polls.archived = 0";
/// Polls before options, so that the options of polls which do not qualify are not even looked at. Nor are those of polls with fewer
/// voters than the bar: so many votes have as many options as are asked for, of the polls with the most voters alone.
pub(super) const LEADERS: &str = "WITH shown AS NOT MATERIALIZED (SELECT number, id, voters FROM polls \
     WHERE archived = 0 AND results = 'always' AND (closes_at IS NULL OR (closes_at > ?1 AND transition_at IS NOT NULL)) \
     AND (opens_at IS NULL OR opens_at <= ?1 OR transition_at IS NULL OR opens_at < transition_at) AND voters > 0), \
     bar AS MATERIALIZED (SELECT coalesce((SELECT votes \
     FROM (SELECT number FROM shown ORDER BY voters DESC LIMIT ?2) AS crowded CROSS JOIN tallies ON tallies.poll = crowded.number \
     WHERE votes > 0 ORDER BY votes DESC LIMIT 1 OFFSET max(?2 - 1, 0)), 1) AS votes) \
     SELECT shown.id, tallies.option, tallies.votes \
     FROM bar CROSS JOIN shown ON shown.voters >= bar.votes \
     CROSS JOIN tallies ON tallies.poll = shown.number AND tallies.votes >= bar.votes \
     ORDER BY tallies.votes DESC, shown.id, tallies.option LIMIT ?2";
/// Always one row, so that what is absent and what is present are of the same moment: `?1` the poll, archived or not, `?2`
/// the voter, `?3` the vote id, `?4` the partition or NULL.
pub(super) const OUTCOME: &str = select_polls!(
    ", votes.vote_id, votes.choices, votes.log_partition, votes.log_offset, \
     past_votes.outcome, past_votes.choices AS past_choices, \
     (SELECT next_offset FROM checkpoints WHERE log_partition = ?4) AS next_offset",
    "(SELECT 1) LEFT JOIN polls ON polls.id = ?1 LEFT JOIN poll_texts ON poll_texts.poll = polls.number \
     LEFT JOIN votes ON votes.poll = polls.number AND votes.voter = ?2 \
     LEFT JOIN past_votes ON past_votes.poll = polls.number AND past_votes.voter = ?2 AND past_votes.vote_id = ?3"
);
pub(super) const STANDING: &str = "SELECT votes.vote_id, votes.choices, votes.log_partition, votes.log_offset \
     FROM polls JOIN votes ON votes.poll = polls.number WHERE polls.id = ?1 AND polls.archived = 0 AND votes.voter = ?2";
/// One row has the tally, or none when there is no such poll; the others are what was added in each step, of the same moment: the
/// voters where there are no choices, and elsewhere the votes of the option that is their only one. `?1` the poll, `?2` the start
/// of the first step, `?3` the width and `?4` the number of steps.
///
/// Votes are added up by all that they choose first, and taken apart after that: most name few things. The places of their choices are
/// the options of the poll, because none has more choices than there are options.
pub(super) const HISTORY: &str = "WITH kept AS MATERIALIZED (SELECT number, version, voters FROM polls WHERE id = ?1 AND archived = 0), \
     added AS MATERIALIZED (SELECT min(max((accepted_at - ?2) / ?3, 0), ?4 - 1) AS step, choices, count(*) AS votes \
     FROM kept CROSS JOIN votes ON votes.poll = kept.number WHERE choices IS NOT NULL GROUP BY 1, 2) \
     SELECT NULL AS step, NULL AS choices, NULL AS votes, version, voters, \
     (SELECT json_group_array(votes ORDER BY option) FROM tallies WHERE poll = kept.number) AS tally FROM kept \
     UNION ALL SELECT step, NULL, sum(votes), NULL, NULL, NULL FROM added GROUP BY step \
     UNION ALL SELECT step, substr(choices, place.option, 1) AS choice, sum(added.votes), NULL, NULL, NULL \
     FROM added CROSS JOIN kept CROSS JOIN tallies AS place ON place.poll = kept.number AND place.option <= length(choices) \
     GROUP BY step, choice";

#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    BEGIN,
    COMMIT,
    ROLLBACK,
    APPLICATION_ID,
    USER_VERSION,
    QUICK_CHECK,
    TABLES,
    NEWEST_MIGRATION,
    CHECKPOINT_WAL,
    EPOCH,
    PROBE,
    CREATE_POLL,
    CREATE_TEXTS,
    CREATE_TALLIES,
    READ_POLL,
    LIST_NEWEST_FIRST,
    LIST_OLDEST_FIRST,
    RANK,
    CLOSE,
    ARCHIVE,
    NEXT_TRANSITION,
    TRANSITION,
    MOVE_CHECKPOINT,
    FIND_CHECKPOINT,
    FIND_POLLS,
    FIND_BALLOTS,
    FIND_PAST,
    INSERT_VOTES[0],
    INSERT_VOTES[1],
    INSERT_VOTES[2],
    REPLACE_VOTES[0],
    REPLACE_VOTES[1],
    REPLACE_VOTES[2],
    WRITE_TOTALS,
    WRITE_PAST,
    WRITE_DEAD_LETTER,
    CHECKPOINTS,
    TALLIES,
    LEADERS,
    OUTCOME,
    STANDING,
    HISTORY,
];
