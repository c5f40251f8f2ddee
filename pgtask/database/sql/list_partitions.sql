-- The partitions of pgtask.runs but the default one, with the instant that each ends before, earliest first.
-- Locks nothing; reads the catalog by pg_inherits_parent_index.
SELECT part.name, part.ends_at
  FROM (SELECT c.relname AS name,
               substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
          FROM pg_catalog.pg_inherits i
          JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'pgtask.runs'::regclass) part
 WHERE part.ends_at IS NOT NULL
 ORDER BY part.ends_at;
