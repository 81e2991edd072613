-- What the last record that was applied is recognised by.
PRAGMA user_version = 5;

-- The first 16 bytes of its SHA-256. The log at next_offset - 1 must still have it, or it is another log. NULL where that was never
-- known: rows of older programs, and logs that keep no records.
ALTER TABLE checkpoints ADD COLUMN last_digest BLOB CHECK (length(last_digest) = 16);
