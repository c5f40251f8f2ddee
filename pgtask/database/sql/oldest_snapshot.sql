-- How many seconds ago the oldest transaction of this database began that keeps dead rows from being removed; NULL without one.
-- Locks nothing; reads shared memory.
SELECT extract(epoch FROM max(clock_timestamp() - a.xact_start))::float8
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database()
   AND a.pid <> pg_backend_pid()
   AND a.backend_type = 'client backend'
   AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL);
