-- Ends the server processes that a dead executor left behind and tells how many are still there. Only those of this login: any
-- other could bear the same name, and may not be ended.
SELECT count(CASE WHEN pg_has_role(a.usesysid, 'USAGE') THEN pg_terminate_backend(a.pid) ELSE true END)
  FROM pg_catalog.pg_stat_activity a
 WHERE a.application_name = %(application_name)s::text
   AND a.datname = current_database()
   AND a.usename = session_user
   AND a.pid <> pg_backend_pid();
