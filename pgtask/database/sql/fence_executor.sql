-- First in each transaction of an executor behind a pooler: waits until its other one, if any, has ended; one that gets its turn
-- only after %(before)s may change nothing (NULL: it may). The clock is read once the lock is held, so that whoever holds the
-- lock after that instant knows that nothing older will happen any more. See fencing.py.
-- Locks: one advisory lock per executor, until the transaction ends.
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(hashtextextended('pgtask.executor ' || %(worker_id)s::int4 || '.' || %(executor)s::int4, 0))
)
SELECT CASE WHEN clock_timestamp() > %(before)s::timestamptz THEN set_config('transaction_read_only', 'on', true) END
  FROM locked;
