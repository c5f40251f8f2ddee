-- This session's statement_timeout in milliseconds: whether what was asked for at its start has reached the server.
SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'statement_timeout';
