-- Polls and their totals. Times are microseconds since 1970-01-01 UTC.
PRAGMA user_version = 2;

-- Small rows only, because every batch rewrites some and the leaderboard scans them all. `number` stands for the identifier
-- in the other tables: it is a quarter of its size.
CREATE TABLE polls (
    number           INTEGER PRIMARY KEY,
    id               BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    archived         INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)),
    -- Grows with every change of the definition or of the tally.
    version          INTEGER NOT NULL CHECK (version >= 1),
    -- How many rows of `votes` name choices.
    voters           INTEGER NOT NULL CHECK (voters >= 0),
    max_choices      INTEGER NOT NULL,
    allow_change     INTEGER NOT NULL CHECK (allow_change IN (0, 1)),
    results          TEXT    NOT NULL,
    opens_at         INTEGER,
    closes_at        INTEGER,
    -- When the state changes next by itself, as long as that change has not been given a version.
    transition_at    INTEGER,
    -- The latest acceptance time among the votes that came in time: a close never falls on or before it.
    last_accepted_at INTEGER,
    owner            BLOB    NOT NULL CHECK (length(owner) = 32)
) STRICT;

-- Only the polls that still have a change before them: looking for due ones costs one probe.
CREATE INDEX polls_by_transition ON polls (transition_at) WHERE transition_at IS NOT NULL;

-- The long parts of a poll, which never change.
CREATE TABLE poll_texts (
    poll            INTEGER PRIMARY KEY REFERENCES polls (number),
    question        TEXT NOT NULL,
    -- The question in lower case, as Unicode has it and SQLite does not.
    question_folded TEXT NOT NULL,
    -- A JSON array of the texts; option 1 is the first.
    options         TEXT NOT NULL CHECK (json_valid(options))
) STRICT;

-- For each option, how many rows of `votes` name it. No index on the counter: every batch changes it.
CREATE TABLE tallies (
    poll   INTEGER NOT NULL REFERENCES polls (number),
    option INTEGER NOT NULL,
    votes  INTEGER NOT NULL CHECK (votes >= 0),
    PRIMARY KEY (poll, option)
) STRICT, WITHOUT ROWID;
