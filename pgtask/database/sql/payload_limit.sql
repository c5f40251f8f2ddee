-- The largest payload to accept, in bytes of JSON text; no row when the setting is gone. Locks nothing. Index: settings_pkey.
SELECT (s.value #>> '{}')::int8 FROM pgtask.settings s WHERE s.name = 'max_payload_bytes';
