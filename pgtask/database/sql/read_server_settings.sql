-- The server's version and the settings that its speed depends on.
SELECT s.name, current_setting(s.name) AS value
  FROM pg_catalog.pg_settings s
 WHERE s.name IN ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_compression',
                  'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'autovacuum', 'autovacuum_naptime', 'max_connections',
                  'data_checksums', 'io_method', 'jit')
 ORDER BY s.name;
