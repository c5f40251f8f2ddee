-- Opens a transaction of upkeep: whether this is the only one at work. Waits at most 300 ms for a lock, as completions queue up
-- behind whoever waits for a table. Bounds of partitions are printed for the session's time zone and date style, hence both.
-- Locks: one advisory lock, until the transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('pgtask.partitions', 0)) AS alone,
       set_config('lock_timeout', '300ms', true),
       set_config('timezone', 'UTC', true),
       set_config('datestyle', 'ISO', true);
