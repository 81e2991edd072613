-- How far the log of votes has been applied.
PRAGMA user_version = 4;

-- Moved by compare-and-set in the transaction of the votes it covers. Beside it, how the records ended when they were
-- applied: next_offset = counted + duplicate + late + invalid + repeated.
CREATE TABLE checkpoints (
    log_partition INTEGER PRIMARY KEY,
    next_offset   INTEGER NOT NULL CHECK (next_offset >= 0),
    counted       INTEGER NOT NULL DEFAULT 0,
    -- Of those counted: how many a later record of the partition superseded.
    superseded    INTEGER NOT NULL DEFAULT 0,
    duplicate     INTEGER NOT NULL DEFAULT 0,
    late          INTEGER NOT NULL DEFAULT 0,
    -- Dead letters are among them.
    invalid       INTEGER NOT NULL DEFAULT 0,
    repeated      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Records that could not be read, for a person to look at. `record` is cut to a bound; `record_bytes` is its full length.
CREATE TABLE dead_letters (
    log_partition INTEGER NOT NULL,
    log_offset    INTEGER NOT NULL,
    reason        TEXT    NOT NULL,
    record        BLOB    NOT NULL,
    record_bytes  INTEGER NOT NULL,
    PRIMARY KEY (log_partition, log_offset)
) STRICT;
