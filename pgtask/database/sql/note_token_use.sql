-- Notes when and from where a token was used; not where somebody else holds the row, as no request is to wait for that.
-- Locks: the row. Index: tokens_prefix.
WITH own AS MATERIALIZED (
    SELECT t.id
      FROM pgtask.tokens t
     WHERE t.prefix = %(prefix)s::text
       FOR NO KEY UPDATE SKIP LOCKED)
UPDATE pgtask.tokens t
   SET last_used_at = now(), last_used_from = %(address)s::text
  FROM own o
 WHERE t.id = o.id;
