-- Notes when and from where a token was used. Locks: the row. Index: tokens_prefix.
UPDATE pgtask.tokens
   SET last_used_at = now(), last_used_from = %(address)s::text
 WHERE prefix = %(prefix)s::text;
