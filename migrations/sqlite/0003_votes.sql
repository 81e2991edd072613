-- Who voted what.
PRAGMA user_version = 3;

-- The vote or retraction that stands for each voter. It is counted if and only if it names choices, so that
--   SELECT count(*) FROM votes WHERE poll = ? AND instr(choices, x'03')
-- is the tally of option 3.
CREATE TABLE votes (
    poll          INTEGER NOT NULL REFERENCES polls (number),
    -- The pseudonym of the voter in this poll.
    voter         BLOB    NOT NULL,
    vote_id       BLOB    NOT NULL,
    -- One byte for each option, ascending; NULL after a retraction.
    choices       BLOB,
    accepted_at   INTEGER NOT NULL,
    log_partition INTEGER NOT NULL,
    log_offset    INTEGER NOT NULL,
    PRIMARY KEY (poll, voter)
) STRICT, WITHOUT ROWID;

-- Votes that do not stand, with the number of their outcome: 1 a retraction that took effect and was followed by a vote,
-- 3 superseded, 5 invalid. Duplicates and late votes are not kept, because they can be derived.
CREATE TABLE past_votes (
    poll    INTEGER NOT NULL REFERENCES polls (number),
    voter   BLOB    NOT NULL,
    vote_id BLOB    NOT NULL,
    outcome INTEGER NOT NULL,
    -- What was asked, as in votes, so that the same name with another choice is told from the same vote; NULL of a retraction.
    choices BLOB,
    PRIMARY KEY (poll, voter, vote_id)
) STRICT, WITHOUT ROWID;
