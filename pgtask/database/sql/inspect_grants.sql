-- What the current role may do with the tables and functions of pgtask. Locks nothing; reads the catalog.
SELECT current_user AS role,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS superuser,
       coalesce(bool_or(t.relname = 'jobs' AND (has_table_privilege(t.oid, 'INSERT')
                        OR has_column_privilege(t.oid, 'task', 'INSERT'))), false) AS enqueue,
       coalesce(bool_and(has_table_privilege(t.oid, 'SELECT')), false) AS read,
       coalesce(bool_and(CASE WHEN t.relname = 'jobs' THEN has_table_privilege(t.oid, 'SELECT')
                                   AND has_table_privilege(t.oid, 'UPDATE') AND has_table_privilege(t.oid, 'DELETE')
                              WHEN t.relname = 'queues' THEN has_table_privilege(t.oid, 'SELECT')
                              WHEN t.relname = 'runs' THEN has_table_privilege(t.oid, 'INSERT')
                              ELSE has_table_privilege(t.oid, 'INSERT') AND has_table_privilege(t.oid, 'UPDATE') END),
                false) AS work,
       coalesce(bool_and(pg_has_role(t.relowner, 'USAGE')) FILTER (WHERE t.relname = 'runs'), false)
           AND has_schema_privilege('pgtask', 'CREATE') AS maintain
  FROM pg_catalog.pg_class t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace AND has_schema_privilege(n.oid, 'USAGE')
 WHERE n.nspname = 'pgtask'
   AND t.relname IN ('jobs', 'runs', 'workers', 'queues', 'tasks');
