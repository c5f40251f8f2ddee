-- Settings that a queue depends on, as a new session of this role would have them: sizes in bytes, times in milliseconds.
SELECT s.name,
       CASE WHEN s.vartype = 'integer' AND s.unit IS NOT NULL
            THEN (s.reset_val::numeric
                  * CASE s.unit WHEN '8kB' THEN 8192 WHEN 'kB' THEN 1024 WHEN 'MB' THEN 1048576
                                WHEN 's' THEN 1000 WHEN 'min' THEN 60000 ELSE 1 END)::int8::text
            ELSE s.reset_val END AS value
  FROM pg_catalog.pg_settings s
 WHERE s.name IN ('autovacuum', 'autovacuum_naptime', 'fsync', 'full_page_writes', 'idle_in_transaction_session_timeout',
                  'max_connections', 'max_wal_size', 'reserved_connections', 'shared_buffers', 'statement_timeout',
                  'superuser_reserved_connections', 'synchronous_commit', 'track_counts');
