-- The database's clock, moved by a delay in seconds.
SELECT now() + make_interval(secs => %(delay)s::float8);
