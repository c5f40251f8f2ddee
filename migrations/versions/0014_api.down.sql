DELETE FROM pgtask.settings WHERE name IN ('audit_retention_days', 'audit_enqueues', 'idempotency_hours');
DROP TABLE pgtask.request_rates;
DROP TABLE pgtask.audit;
DROP TABLE pgtask.idempotency_keys;
DROP TABLE pgtask.tokens;
