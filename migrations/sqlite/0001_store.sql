-- What the file is. Every migration sets user_version to its own number, in its own transaction: so the header alone tells
-- an older program that it must not touch the file, and any program that the file is not some other application's.
PRAGMA application_id = 0x504f4c4c; -- "POLL"
PRAGMA user_version = 1;

-- One row. `epoch` changes only when the history of the store may have gone back, for instance after a backup was restored:
-- whoever restores one adds 1. `probe` is written by empty batches to prove that a commit works.
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    INTEGER NOT NULL CHECK (epoch >= 1),
    probe    INTEGER NOT NULL
) STRICT;

INSERT INTO store (only_row, epoch, probe) VALUES (1, 1, 0);
