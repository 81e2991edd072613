-- One row. The epoch of versions is the timeline of the server, which a failover and a recovery to a point in time change by
-- themselves. `restores` stands above it: whoever loads a dump, which brings an older state without a new timeline, adds 1.
-- `probe` is written by empty batches to prove that a commit works.
CREATE TABLE store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    restores integer NOT NULL DEFAULT 0 CHECK (restores >= 0),
    probe    bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

INSERT INTO store DEFAULT VALUES;
