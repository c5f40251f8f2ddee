-- What keeps dead rows of this database from being removed: transactions, prepared ones, replication slots, standbys; the
-- sessions that this role may not look into have kind `hidden`. Locks nothing; reads shared memory.
SELECT 'transaction' AS kind,
       a.application_name AS name,
       a.pid,
       a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start))::float8 AS age,
       greatest(age(a.backend_xmin), age(a.backend_xid)) AS xid_age,
       NULL::int8 AS retained
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database()
   AND a.backend_type = 'client backend'
   AND a.pid <> pg_backend_pid()
   AND a.xact_start IS NOT NULL
 UNION ALL
SELECT 'hidden', a.usename, a.pid, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database()
   AND a.backend_type IS NULL
   AND a.query = '<insufficient privilege>'
 UNION ALL
SELECT 'prepared', p.gid, NULL, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::float8, age(p.transaction), NULL
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = current_database()
 UNION ALL
SELECT 'slot',
       s.slot_name,
       s.active_pid,
       CASE WHEN s.active THEN 'active' ELSE 'inactive' END,
       NULL,
       age(s.xmin),
       CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::int8 END
  FROM pg_catalog.pg_replication_slots s
 UNION ALL
SELECT 'standby', r.application_name, r.pid, r.state, NULL, age(r.backend_xmin), NULL
  FROM pg_catalog.pg_stat_replication r
 WHERE r.backend_xmin IS NOT NULL
 ORDER BY age DESC NULLS LAST, xid_age DESC NULLS LAST
 LIMIT 1000;
