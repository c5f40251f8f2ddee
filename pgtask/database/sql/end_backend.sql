-- Ends the server process of a connection that was lost, unless its number is by now another's.
SELECT pg_terminate_backend(a.pid)
  FROM pg_stat_activity a
 WHERE a.pid = %(pid)s::int4
   AND a.application_name = %(application_name)s::text
   AND a.datname = current_database();
