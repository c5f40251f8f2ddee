-- The largest payload to accept, in bytes of JSON text; NULL when the setting is gone. Locks nothing. Index: settings_pkey.
SELECT pgtask.payload_limit();
