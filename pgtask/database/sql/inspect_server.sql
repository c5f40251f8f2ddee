-- The server as a whole. Locks nothing; reads shared memory and one row of the catalog.
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int4 AS version_number,
       pg_is_in_recovery() AS in_recovery,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
         WHERE a.backend_type = 'client backend' OR a.backend_type IS NULL) AS sessions,
       (SELECT age(d.datfrozenxid) FROM pg_catalog.pg_database d WHERE d.datname = current_database()) AS transaction_age,
       pg_notification_queue_usage() AS notification_queue;
