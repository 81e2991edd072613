-- The vote or retraction that stands for each voter. It is counted if and only if it names choices, so that
--   SELECT count(*) FROM votes WHERE poll = ... AND position('\x03'::bytea IN choices) > 0
-- is the tally of option 3.
--
-- No foreign key to the poll: checking it takes a lock on the poll for each vote, and a poll is never deleted. The order of
-- the columns leaves no gaps between them.
CREATE TABLE votes (
    poll          bigint  NOT NULL,
    accepted_at   bigint  NOT NULL,
    log_offset    bigint  NOT NULL,
    log_partition integer NOT NULL,
    -- The pseudonym of the voter in this poll.
    voter         uuid    NOT NULL,
    vote_id       uuid    NOT NULL,
    -- One byte for each option, ascending; NULL after a retraction.
    choices       bytea,
    PRIMARY KEY (poll, voter)
);
