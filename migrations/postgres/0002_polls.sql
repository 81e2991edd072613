-- Polls and their totals. Times are microseconds since 1970-01-01 UTC.

-- Small rows only, because every batch rewrites some, and half empty pages, so that the new row lands beside the old one and
-- no index has to be touched. For the same reason no index names a column that a batch changes.
--
-- The totals are a part of the row and not rows of their own: a batch locks the row in any case, to give it a version, so
-- a row for each option would allow no more writers and cost each of them several writes instead of one.
CREATE TABLE polls (
    -- Stands for the identifier in the other tables: it is half of its size.
    number           bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               uuid     NOT NULL UNIQUE,
    -- Grows with every change of the definition or of the tally.
    version          bigint   NOT NULL DEFAULT 1 CHECK (version >= 1),
    -- How many rows of `votes` name choices.
    voters           bigint   NOT NULL DEFAULT 0 CHECK (voters >= 0),
    opens_at         bigint,
    closes_at        bigint,
    -- When the state changes next by itself, as long as that change has not been given a version.
    transition_at    bigint,
    -- The latest acceptance time among the votes that came in time: a close never falls on or before it.
    last_accepted_at bigint,
    max_choices      smallint NOT NULL,
    allow_change     boolean  NOT NULL,
    archived         boolean  NOT NULL DEFAULT false,
    results          text     NOT NULL,
    -- How many rows of `votes` name each option; the first element is that of option 1.
    tally            bigint[] NOT NULL CHECK (0 <= ALL (tally))
) WITH (fillfactor = 50);

-- Only the polls that still have a change before them: looking for due ones costs one probe.
CREATE INDEX polls_by_transition ON polls (transition_at) WHERE transition_at IS NOT NULL;

-- The long parts of a poll, which never change.
CREATE TABLE poll_texts (
    poll            bigint PRIMARY KEY REFERENCES polls (number),
    owner           bytea  NOT NULL CHECK (length(owner) = 32),
    question        text   NOT NULL,
    -- The question in lower case, by the rules of the program and not by those of the database's locale.
    question_folded text   NOT NULL,
    -- Option 1 is the first.
    options         text[] NOT NULL
);
