-- What the last record that was applied is recognised by: the first 16 bytes of its SHA-256. The log at digested_offset - 1 must still
-- have it, or it is another log. NULL where that was never known: rows of older programs, and logs that keep no records.
--
-- It says something only where digested_offset = next_offset: an older program that still runs moves a checkpoint without it.
ALTER TABLE checkpoints
    ADD COLUMN last_digest     bytea CHECK (length(last_digest) = 16),
    ADD COLUMN digested_offset bigint;
