-- The server process that answers this connection now, and the database's clock.
SELECT pg_backend_pid(), clock_timestamp();
