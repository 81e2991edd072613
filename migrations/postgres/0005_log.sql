-- How far the log of votes has been applied. Moved by compare-and-set in the transaction of the votes that it covers. Beside it,
-- how the records ended when they were applied: next_offset = counted + duplicate + late + invalid + repeated.
CREATE TABLE checkpoints (
    log_partition integer PRIMARY KEY,
    next_offset   bigint NOT NULL CHECK (next_offset >= 0),
    counted       bigint NOT NULL DEFAULT 0,
    -- Of those counted: how many a later record of the partition superseded.
    superseded    bigint NOT NULL DEFAULT 0,
    duplicate     bigint NOT NULL DEFAULT 0,
    late          bigint NOT NULL DEFAULT 0,
    -- Dead letters are among them.
    invalid       bigint NOT NULL DEFAULT 0,
    repeated      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- Records that could not be read, for a person to look at. `record` is cut to a bound; `record_bytes` is its full length.
CREATE TABLE dead_letters (
    log_partition integer NOT NULL,
    log_offset    bigint  NOT NULL,
    reason        text    NOT NULL,
    record        bytea   NOT NULL,
    record_bytes  bigint  NOT NULL,
    PRIMARY KEY (log_partition, log_offset)
);
