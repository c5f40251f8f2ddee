-- Bounds how long this transaction waits for a lock, and lifts the limits on its own length that its role may carry (one of them
-- is known only from PostgreSQL 17 on). Set in the transaction, so that it also holds behind a transaction pooler.
SELECT set_config(s.name, CASE s.name WHEN 'lock_timeout' THEN %(lock_timeout)s::text ELSE '0' END, true)
  FROM pg_catalog.pg_settings s
 WHERE s.name IN ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
