-- Records what was enqueued, unless enqueues have no line in the audit. Locks: the new row. Index: settings_pkey.
INSERT INTO pgtask.audit (actor, address, action, subject, details, request_id)
SELECT %(actor)s::text, %(address)s::text, %(action)s::text, %(subject)s::text, %(details)s::jsonb, %(request_id)s::text
 WHERE (SELECT s.value #>> '{}' FROM pgtask.settings s WHERE s.name = 'audit_enqueues') IS DISTINCT FROM '0';
