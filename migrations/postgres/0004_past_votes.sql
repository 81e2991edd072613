-- Votes that do not stand, with the number of their outcome: 1 a retraction that took effect and was followed by a vote,
-- 3 superseded, 5 invalid. Duplicates and late votes are not kept, because they can be derived.
CREATE TABLE past_votes (
    poll    bigint   NOT NULL,
    voter   uuid     NOT NULL,
    vote_id uuid     NOT NULL,
    outcome smallint NOT NULL,
    -- What was asked, as in votes, so that the same name with another choice is told from the same vote; NULL of a retraction.
    choices bytea,
    PRIMARY KEY (poll, voter, vote_id)
);
