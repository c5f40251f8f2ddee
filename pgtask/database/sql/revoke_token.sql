-- Revokes a token; one that is revoked stays as it is. Locks: the row. Index: tokens_pkey.
UPDATE pgtask.tokens
   SET revoked_at = now(), revoked_by = %(revoked_by)s::text
 WHERE id = %(id)s::int4 AND revoked_at IS NULL;
