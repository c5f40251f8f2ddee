-- Opens a turn of upkeep, one worker's at a time. Waits at most 300 ms, for this or any other lock, as whoever waits for a table
-- holds up those behind. The style is for reading partition bounds, which are printed in the session's own.
-- Locks: one advisory lock, until the transaction ends.
SELECT set_config('lock_timeout', '300ms', true),
       set_config('datestyle', 'ISO', true),
       pg_advisory_xact_lock(hashtextextended('pgtask.partitions', 0));
