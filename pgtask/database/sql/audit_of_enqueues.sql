-- Whether jobs that the API enqueues are audited. Locks nothing. Index: settings_pkey.
SELECT coalesce((SELECT (s.value #>> '{}')::float8 <> 0 FROM pgtask.settings s WHERE s.name = 'audit_enqueues'), true);
