-- Ends the server processes that a dead executor left behind and tells how many are still there.
SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
 WHERE a.application_name = %(application_name)s::text AND a.datname = current_database() AND a.pid <> pg_backend_pid();
