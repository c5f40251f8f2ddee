-- The server processes of this database's sessions but this one's own.
SELECT a.pid, a.application_name
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database()
   AND a.backend_type = 'client backend'
   AND a.pid <> pg_backend_pid();
