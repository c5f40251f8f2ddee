-- Records a change, in the transaction of the change. Locks: the new row.
INSERT INTO pgtask.audit (actor, address, action, subject, details, request_id)
VALUES (%(actor)s::text, %(address)s::text, %(action)s::text, %(subject)s::text, %(details)s::jsonb, %(request_id)s::text);
