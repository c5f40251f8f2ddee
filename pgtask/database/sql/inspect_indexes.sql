-- The indexes of pgtask's tables, those of partitions included. Locks nothing; reads the catalog.
SELECT c.relname AS name, t.relname AS table, i.indisvalid AND i.indisready AS valid
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE n.nspname = 'pgtask'
 ORDER BY 2, 1;
