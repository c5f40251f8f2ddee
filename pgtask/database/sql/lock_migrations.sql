-- Waits until this is the only transaction that migrates this database. Locks: one advisory lock, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('pgtask.migrations', 0));
