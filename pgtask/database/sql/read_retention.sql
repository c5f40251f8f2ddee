-- The database's clock and the days that each kind of history is kept; NULL, as when a setting is gone, keeps it for ever.
-- Locks nothing. Index: settings_pkey.
SELECT now(),
       (SELECT (s.value #>> '{}')::float8 FROM pgtask.settings s WHERE s.name = 'retention_days'),
       (SELECT (s.value #>> '{}')::float8 FROM pgtask.settings s WHERE s.name = 'stats_retention_days'),
       (SELECT (s.value #>> '{}')::float8 FROM pgtask.settings s WHERE s.name = 'worker_retention_days');
