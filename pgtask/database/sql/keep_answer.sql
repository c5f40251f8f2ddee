-- Keeps the answer to a request with a key, in the transaction that has taken the key. Locks: the row. Index: idempotency_keys_pkey.
UPDATE pgtask.idempotency_keys
   SET status = %(status)s::smallint, headers = %(headers)s::jsonb, body = %(body)s::text
 WHERE actor = %(actor)s::text AND key = %(key)s::text;
