-- Takes a key of a caller, for the transaction that does what is asked; no row where it has been taken. Waits for a transaction
-- that is at it. Locks: the row. Index: idempotency_keys_pkey.
INSERT INTO pgtask.idempotency_keys (actor, key, request_hash)
VALUES (%(actor)s::text, %(key)s::text, %(request_hash)s::bytea)
ON CONFLICT (actor, key) DO NOTHING
RETURNING true;
