-- The tables of pgtask, partitions summed up under their parent, with dead rows, last vacuum (seconds ago) and sizes.
-- Takes a weak lock on each table for a moment, as any SELECT does; waits for none longer than lock_timeout.
SELECT coalesce(parent.relname, c.relname) AS name,
       sum(greatest(coalesce(s.n_live_tup, 0), 0))::int8 AS live_rows,
       sum(coalesce(s.n_dead_tup, 0))::int8 AS dead_rows,
       extract(epoch FROM now() - max(greatest(s.last_vacuum, s.last_autovacuum)))::float8 AS vacuumed,
       sum(pg_relation_size(c.oid))::int8 AS heap_bytes,
       sum(pg_total_relation_size(c.oid))::int8 AS total_bytes
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
  LEFT JOIN pg_catalog.pg_class parent ON parent.oid = i.inhparent
  LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = c.oid
 WHERE n.nspname = 'pgtask'
   AND c.relkind = 'r'
 GROUP BY 1
 ORDER BY 1;
