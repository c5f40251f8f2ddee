-- What was asked with a key, and answered. Locks nothing. Index: idempotency_keys_pkey.
SELECT k.request_hash, k.status, k.headers, k.body
  FROM pgtask.idempotency_keys k
 WHERE k.actor = %(actor)s::text AND k.key = %(key)s::text;
