//! Every statement that the PostgreSQL store runs. Constants, so that none can be put together from what somebody sends, and
//! each is prepared once on a connection. Many rows are one parameter for each column: arrays, which `unnest` lays side by side.

/// The epoch: how often a dump was restored, above the timeline of the server. Read in the statement that reads versions, so
/// that both are of the same server.
macro_rules! epoch {
    () => {
        "(SELECT (restores::bigint << 32) | ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint \
         FROM store) AS epoch"
    };
}

/// The columns of a poll, and the tables that they are in.
macro_rules! select_polls {
    ($more:literal, $from:literal) => {
        concat!(
            "SELECT polls.number, polls.id, polls.archived, polls.version, polls.voters, polls.max_choices, \
             polls.allow_change, polls.results, polls.opens_at, polls.closes_at, polls.transition_at, polls.last_accepted_at, polls.tally, \
             poll_texts.owner, poll_texts.question, poll_texts.options, ",
            epoch!(),
            $more,
            " FROM ",
            $from
        )
    };
}

/// `$1` the state or NULL for any, as [`Poll::state_listed`](crate::model::Poll::state_listed) has it at `$2` when it is `$6` now, `$3`
/// the folded text or NULL for any, `$4` and `$5` see [`refolding`](super::folding::refolding).
macro_rules! polls_that_match {
    () => {
        " NOT polls.archived \
         AND ($1::bigint IS NULL OR $1 = CASE WHEN polls.closes_at <= $2 OR (polls.closes_at > $6 AND polls.transition_at IS NULL) THEN 2 \
         WHEN polls.opens_at > $2 AND NOT (polls.opens_at > $6 AND (polls.transition_at IS NULL OR polls.opens_at < polls.transition_at) \
         AND (polls.closes_at IS NULL OR polls.opens_at < polls.closes_at)) THEN 0 ELSE 1 END) \
         AND ($3::text IS NULL OR strpos(replace(poll_texts.question_folded, $4, $5), $3) > 0) "
    };
}

// Transactions. Every lock that matters is taken by name, so each statement may see what was committed before it.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

// What the server is.
pub(super) const DURABILITY: &str = "SELECT current_setting('fsync') AS fsync, \
     current_setting('full_page_writes') AS full_page_writes, current_setting('synchronous_commit') AS synchronous_commit, \
     pg_is_in_recovery() AS is_standby";
pub(super) const SCHEMA: &str = "SELECT to_regnamespace($1) IS NOT NULL AS found";
pub(super) const MIGRATIONS_TABLE: &str = "SELECT to_regclass('schema_versions') IS NOT NULL AS found";
pub(super) const MIGRATIONS: &str = "SELECT version FROM schema_versions WHERE success ORDER BY version";
pub(super) const LOCK_MIGRATING: &str = "SELECT pg_try_advisory_lock(hashtextextended('migrate ' || $1::text, 0)) AS taken";
pub(super) const CLAIM: &str = "SELECT pg_try_advisory_lock(hashtextextended('memory log ' || $1::text, 0)) AS taken";
pub(super) const NOTHING: &str = "SELECT 1 AS nothing";
pub(super) const PROBE: &str = "UPDATE store SET probe = probe + 1";

// Polls.
pub(super) const CREATE_POLL: &str = "WITH created AS (\
     INSERT INTO polls (id, max_choices, allow_change, results, opens_at, closes_at, transition_at, tally) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, array_fill(0::bigint, ARRAY[cardinality($11::text[])])) \
     ON CONFLICT (id) DO NOTHING RETURNING number) \
     INSERT INTO poll_texts (poll, owner, question, question_folded, options) SELECT number, $8, $9, $10, $11 FROM created";
pub(super) const READ_POLL: &str =
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id = $1 AND NOT polls.archived");
/// The same, and keeps everybody else from changing it. Whoever waited for the lock sees what the one before left behind.
pub(super) const LOCK_POLL: &str = select_polls!(
    "",
    "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id = $1 AND NOT polls.archived \
     FOR NO KEY UPDATE OF polls"
);
pub(super) const LIST_NEWEST_FIRST: &str = concat!(
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id < $7 AND"),
    polls_that_match!(),
    "ORDER BY polls.id DESC LIMIT $8"
);
pub(super) const LIST_OLDEST_FIRST: &str = concat!(
    select_polls!("", "polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE polls.id > $7 AND"),
    polls_that_match!(),
    "ORDER BY polls.id LIMIT $8"
);
pub(super) const RANK: &str = concat!(
    "SELECT polls.id FROM polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE",
    polls_that_match!(),
    "ORDER BY polls.voters DESC, polls.id LIMIT $7"
);
pub(super) const CLOSE: &str = "UPDATE polls SET closes_at = $2, transition_at = NULL, version = version + 1 WHERE number = $1";
pub(super) const ARCHIVE: &str =
    "UPDATE polls SET archived = true, transition_at = NULL, version = version + 1 WHERE id = $1 AND NOT archived";
pub(super) const NEXT_TRANSITION: &str = "SELECT min(transition_at) AS next FROM polls WHERE transition_at IS NOT NULL";
/// After a change of its state, a poll has at most one before it: the close. In the order in which batches lock polls.
pub(super) const TRANSITION: &str = "WITH due AS (SELECT number FROM polls WHERE transition_at <= $1 ORDER BY number FOR NO KEY UPDATE) \
     UPDATE polls SET version = version + 1, transition_at = CASE WHEN closes_at > $1 THEN closes_at END \
     FROM due WHERE polls.number = due.number AND transition_at <= $1 RETURNING polls.id";

// Applying a batch, in the order of the transaction.
//
// A plan is made once and used for long: made while a table had a few rows, it must still do when there are millions. LATERAL with
// OFFSET 0 leaves the planner no choice but to walk through the arrays and look each row up, and a row that is found is
// updated by its place.
/// The fence: whoever holds these rows is the only one who counts the partitions.
pub(super) const LOCK_CHECKPOINTS: &str = "SELECT log_partition, next_offset FROM checkpoints WHERE log_partition = ANY($1::integer[]) \
     ORDER BY log_partition FOR NO KEY UPDATE";
pub(super) const BEGIN_PARTITIONS: &str = "INSERT INTO checkpoints (log_partition, next_offset) \
     SELECT log_partition, 0 FROM unnest($1::integer[]) AS log_partition ORDER BY log_partition ON CONFLICT DO NOTHING";
pub(super) const FIND_POLLS: &str = select_polls!(
    ", past.vote_id IS NOT NULL AS has_past",
    "unnest($1::uuid[]) AS wanted (id) CROSS JOIN LATERAL (SELECT * FROM polls WHERE id = wanted.id OFFSET 0) AS polls \
     CROSS JOIN LATERAL (SELECT * FROM poll_texts WHERE poll = polls.number OFFSET 0) AS poll_texts \
     LEFT JOIN LATERAL (SELECT vote_id FROM past_votes WHERE poll = polls.number LIMIT 1) AS past ON true"
);
pub(super) const FIND_BALLOTS: &str = "SELECT found.poll, found.voter, found.vote_id, found.choices, found.log_partition, found.log_offset \
     FROM unnest($1::bigint[], $2::uuid[]) AS wanted (poll, voter) \
     CROSS JOIN LATERAL (SELECT * FROM votes WHERE poll = wanted.poll AND voter = wanted.voter OFFSET 0) AS found";
pub(super) const FIND_POLLS_WITH_PAST: &str = "SELECT wanted.poll FROM unnest($1::bigint[]) AS wanted (poll) \
     CROSS JOIN LATERAL (SELECT FROM past_votes WHERE past_votes.poll = wanted.poll LIMIT 1) AS found";
pub(super) const FIND_PAST: &str = "SELECT found.poll, found.voter, found.vote_id, found.outcome, found.choices \
     FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS wanted (poll, voter, vote_id) \
     CROSS JOIN LATERAL (SELECT * FROM past_votes \
     WHERE poll = wanted.poll AND voter = wanted.voter AND vote_id = wanted.vote_id OFFSET 0) AS found";
/// For many rows at once; the columns are those of [`ADD_VOTES`].
pub(super) const COPY_VOTES: &str =
    "COPY votes (poll, accepted_at, log_offset, log_partition, voter, vote_id, choices) FROM STDIN (FORMAT binary)";
pub(super) const ADD_VOTES: &str = "INSERT INTO votes (poll, accepted_at, log_offset, log_partition, voter, vote_id, choices) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::uuid[], $6::uuid[], $7::bytea[]) \
     ON CONFLICT DO NOTHING";
/// `$8` names the votes that stood before.
pub(super) const REPLACE_VOTES: &str = "UPDATE votes SET accepted_at = new.accepted_at, log_offset = new.log_offset, \
     log_partition = new.log_partition, vote_id = new.vote_id, choices = new.choices \
     FROM (SELECT new.*, found.place \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::uuid[], $6::uuid[], $7::bytea[], $8::uuid[]) \
     AS new (poll, accepted_at, log_offset, log_partition, voter, vote_id, choices, replaced) \
     CROSS JOIN LATERAL (SELECT ctid AS place FROM votes \
     WHERE poll = new.poll AND voter = new.voter AND vote_id = new.replaced OFFSET 0) AS found OFFSET 0) AS new \
     WHERE votes.ctid = new.place";
pub(super) const ADD_PAST: &str = "INSERT INTO past_votes (poll, voter, vote_id, outcome, choices) \
     SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::smallint[], $5::bytea[]) ON CONFLICT DO NOTHING";
/// In the place of an older one only when a person has had the partition counted from its beginning again.
pub(super) const ADD_DEAD_LETTERS: &str = "INSERT INTO dead_letters (log_partition, log_offset, reason, record, record_bytes) \
     SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[]) \
     ON CONFLICT (log_partition, log_offset) DO UPDATE \
     SET reason = excluded.reason, record = excluded.record, record_bytes = excluded.record_bytes";
/// In the order of the numbers, as everybody does who locks several polls.
pub(super) const LOCK_POLLS: &str = concat!(
    "SELECT number, id, archived, version, voters, closes_at, last_accepted_at, tally, ",
    epoch!(),
    " FROM polls WHERE number = ANY($1::bigint[]) ORDER BY number FOR NO KEY UPDATE"
);
pub(super) const WRITE_POLLS: &str = "UPDATE polls SET version = new.version, voters = new.voters, \
     last_accepted_at = new.last_accepted_at, tally = new.tally::bigint[] \
     FROM (SELECT new.*, found.place FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) \
     AS new (number, version, voters, last_accepted_at, tally) \
     CROSS JOIN LATERAL (SELECT ctid AS place FROM polls WHERE number = new.number OFFSET 0) AS found OFFSET 0) AS new \
     WHERE polls.ctid = new.place";
pub(super) const MOVE_CHECKPOINTS: &str = "UPDATE checkpoints SET next_offset = new.next_offset, counted = counted + new.counted_more, \
     superseded = superseded + new.superseded_more, duplicate = duplicate + new.duplicate_more, late = late + new.late_more, \
     invalid = invalid + new.invalid_more, repeated = repeated + new.repeated_more, \
     last_digest = new.last_digest, digested_offset = new.next_offset \
     FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], \
     $8::bigint[], $9::bigint[], $10::bytea[]) \
     AS new (log_partition, expected_offset, next_offset, counted_more, superseded_more, duplicate_more, late_more, \
     invalid_more, repeated_more, last_digest) \
     WHERE checkpoints.log_partition = new.log_partition AND checkpoints.next_offset = new.expected_offset";

/// Microseconds of the server's clock as it is when the statement runs.
pub(super) const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";

// Reading what was applied.
pub(super) const CHECKPOINTS: &str = "SELECT log_partition, next_offset, \
     CASE WHEN digested_offset = next_offset THEN last_digest END AS last_digest FROM checkpoints";
pub(super) const TALLIES: &str =
    concat!("SELECT id, version, voters, tally, ", epoch!(), " FROM polls WHERE id = ANY($1::uuid[]) AND NOT archived");
/// Taking totals apart is most of the work, so it is left out for polls without an option that reaches the bar: so many votes have as many
/// options as are asked for, of the polls with the most voters alone.
pub(super) const LEADERS: &str = "WITH shown AS NOT MATERIALIZED (SELECT id, voters, tally FROM polls \
     WHERE NOT archived AND results = 'always' AND (closes_at IS NULL OR (closes_at > $1 AND transition_at IS NOT NULL)) \
     AND (opens_at IS NULL OR opens_at <= $1 OR transition_at IS NULL OR opens_at < transition_at) AND voters > 0), \
     bar AS MATERIALIZED (SELECT coalesce((SELECT votes \
     FROM (SELECT tally FROM shown ORDER BY voters DESC LIMIT $2) AS crowded CROSS JOIN unnest(tally) AS votes \
     WHERE votes > 0 ORDER BY votes DESC LIMIT 1 OFFSET greatest($2 - 1, 0)), 1) AS votes) \
     SELECT shown.id, counted.option, counted.votes \
     FROM shown CROSS JOIN unnest(shown.tally) WITH ORDINALITY AS counted (votes, option) \
     WHERE shown.voters >= (SELECT votes FROM bar) AND (SELECT votes FROM bar) <= ANY (shown.tally) \
     AND counted.votes >= (SELECT votes FROM bar) \
     ORDER BY counted.votes DESC, shown.id, counted.option LIMIT $2";
/// Always one row, so that what is absent and what is present are of the same moment: `$1` the poll, archived or not, `$2`
/// the voter, `$3` the vote id, `$4` the partition or NULL.
pub(super) const OUTCOME: &str = select_polls!(
    ", votes.vote_id, votes.choices, votes.log_partition, votes.log_offset, past_votes.outcome, \
     past_votes.choices AS past_choices, (SELECT next_offset FROM checkpoints WHERE log_partition = $4) AS next_offset",
    "(SELECT) AS one LEFT JOIN polls ON polls.id = $1 LEFT JOIN poll_texts ON poll_texts.poll = polls.number \
     LEFT JOIN votes ON votes.poll = polls.number AND votes.voter = $2 \
     LEFT JOIN past_votes ON past_votes.poll = polls.number AND past_votes.voter = $2 AND past_votes.vote_id = $3"
);
pub(super) const STANDING: &str = "SELECT votes.vote_id, votes.choices, votes.log_partition, votes.log_offset \
     FROM polls JOIN votes ON votes.poll = polls.number WHERE polls.id = $1 AND NOT polls.archived AND votes.voter = $2";
pub(super) const FIND_NUMBER: &str = "SELECT number FROM polls WHERE id = $1 AND NOT archived";
/// One row has the tally, or none when there is no such poll; the others are what was added in each step, of the same moment: the
/// voters where there are no choices, and elsewhere the votes of the option that is their only one. `$1` the number of the poll, `$2` the
/// start of the first step, `$3` the width and `$4` the number of steps.
///
/// Votes are added up by all that they choose first, and taken apart after that: most name few things. The number is a parameter, and
/// the statement is planned for it each time: a poll of ten votes and one of ten millions want different plans.
pub(super) const HISTORY: &str = concat!(
    "WITH kept AS MATERIALIZED (SELECT id, version, voters, tally, ",
    epoch!(),
    " FROM polls WHERE number = $1 AND NOT archived), \
     added AS MATERIALIZED (SELECT least(greatest((accepted_at - $2) / $3, 0), $4 - 1) AS step, choices, count(*) AS votes \
     FROM votes WHERE poll = $1 AND choices IS NOT NULL GROUP BY 1, 2) \
     SELECT NULL::bigint AS step, NULL::bytea AS choices, NULL::bigint AS votes, id, version, voters, tally, epoch FROM kept \
     UNION ALL SELECT step, NULL, sum(votes)::bigint, NULL, NULL, NULL, NULL, NULL FROM added GROUP BY step \
     UNION ALL SELECT step, substr(choices, place, 1), sum(votes)::bigint, NULL, NULL, NULL, NULL, NULL \
     FROM added CROSS JOIN LATERAL generate_series(1, length(choices)) AS place GROUP BY 1, 2"
);

// Auditing.
/// Has the server end what it does for a client that has gone away, where it can: since version 14.
pub(super) const NOTICE_LOST_CLIENTS: &str =
    "SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'client_connection_check_interval'";
/// Within a transaction that has not asked for anything yet: all that it asks for is of one moment.
pub(super) const ONE_MOMENT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
pub(super) const POLL_IDS: &str = "SELECT id FROM polls WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const FIND_ANY_NUMBER: &str = "SELECT number FROM polls WHERE id = $1";
/// One row has what is kept of the poll with the number `$1`, or none when there is no such poll; the others are what its vote rows add up
/// to, of the same moment: the voters where there are no choices, and elsewhere the votes of the option that is their only one. Added up
/// as in [`HISTORY`].
pub(super) const RECOUNT: &str = "WITH kept AS MATERIALIZED (SELECT id, voters, tally, cardinality(poll_texts.options) AS options \
     FROM polls JOIN poll_texts ON poll_texts.poll = polls.number WHERE number = $1), \
     added AS MATERIALIZED (SELECT choices, count(*) AS votes FROM votes WHERE poll = $1 AND choices IS NOT NULL GROUP BY choices) \
     SELECT NULL::bytea AS choices, NULL::bigint AS votes, id, voters, tally, options FROM kept \
     UNION ALL SELECT NULL, coalesce(sum(votes), 0)::bigint, NULL, NULL, NULL, NULL FROM added \
     UNION ALL SELECT substr(choices, place, 1), sum(votes)::bigint, NULL, NULL, NULL, NULL \
     FROM added CROSS JOIN LATERAL generate_series(1, length(choices)) AS place GROUP BY 1";
/// What is kept beside the checkpoints.
macro_rules! counters {
    () => {
        "log_partition, next_offset, counted, superseded, duplicate, late, invalid, repeated, \
         CASE WHEN digested_offset = next_offset THEN last_digest END AS last_digest "
    };
}
pub(super) const COUNTERS: &str = concat!("SELECT ", counters!(), "FROM checkpoints");
/// The same and, of the same moment, how many votes stand and how many retractions took effect, whether they stand or were followed by a
/// vote. One row at least.
pub(super) const COUNTERS_WITH_ROWS: &str = concat!(
    "SELECT ",
    counters!(),
    ", rows.standing FROM (SELECT (SELECT count(*) FROM votes) + (SELECT count(*) FROM past_votes WHERE outcome = 1) AS standing) AS rows \
     LEFT JOIN checkpoints ON true"
);
/// `$1` the polls, or NULL for all; after the poll `$2`, at most `$3`.
pub(super) const LEDGER_POLLS: &str = "SELECT polls.number, polls.id, polls.archived, polls.voters, polls.max_choices, \
     polls.allow_change, polls.results, polls.opens_at, polls.closes_at, polls.tally, \
     poll_texts.owner, poll_texts.question, poll_texts.options \
     FROM polls JOIN poll_texts ON poll_texts.poll = polls.number \
     WHERE ($1::uuid[] IS NULL OR polls.id = ANY($1)) AND polls.id > $2 ORDER BY polls.id LIMIT $3";
/// Of several who mend, one at a time: what each adds is right only once. Counting does not wait for it.
pub(super) const LOCK_MENDING: &str = "SELECT pg_advisory_xact_lock(hashtextextended('mend ' || current_schema(), 0))";
pub(super) const MEND: &str = "UPDATE polls SET version = version + 1, voters = $2, tally = $3 WHERE number = $1";

/// All that can be prepared.
#[cfg(feature = "test-util")]
pub(super) const ALL: &[&str] = &[
    BEGIN,
    COMMIT,
    ROLLBACK,
    DURABILITY,
    SCHEMA,
    MIGRATIONS_TABLE,
    MIGRATIONS,
    LOCK_MIGRATING,
    CLAIM,
    NOTHING,
    PROBE,
    CREATE_POLL,
    READ_POLL,
    LOCK_POLL,
    LIST_NEWEST_FIRST,
    LIST_OLDEST_FIRST,
    RANK,
    CLOSE,
    ARCHIVE,
    NEXT_TRANSITION,
    TRANSITION,
    LOCK_CHECKPOINTS,
    BEGIN_PARTITIONS,
    FIND_POLLS,
    FIND_BALLOTS,
    FIND_POLLS_WITH_PAST,
    FIND_PAST,
    ADD_VOTES,
    REPLACE_VOTES,
    ADD_PAST,
    ADD_DEAD_LETTERS,
    LOCK_POLLS,
    WRITE_POLLS,
    MOVE_CHECKPOINTS,
    CHECKPOINTS,
    TIME,
    TALLIES,
    LEADERS,
    OUTCOME,
    STANDING,
    FIND_NUMBER,
    HISTORY,
    NOTICE_LOST_CLIENTS,
    POLL_IDS,
    FIND_ANY_NUMBER,
    RECOUNT,
    COUNTERS,
    COUNTERS_WITH_ROWS,
    LEDGER_POLLS,
    LOCK_MENDING,
    MEND,
];

/// Those of a batch that name tables which grow.
#[cfg(feature = "test-util")]
pub(super) const OF_A_BATCH: &[&str] =
    &[FIND_POLLS, FIND_BALLOTS, FIND_POLLS_WITH_PAST, FIND_PAST, ADD_VOTES, REPLACE_VOTES, ADD_PAST, LOCK_POLLS, WRITE_POLLS];
