-- Tokens, newest first, from below an id on. Locks nothing. Index: tokens_pkey.
SELECT t.id, t.name, t.prefix, t.scopes, t.queues, t.rate_limit, t.created_at, t.created_by, t.expires_at, t.revoked_at, t.revoked_by,
       t.last_used_at, t.last_used_from
  FROM pgtask.tokens t
 WHERE t.id < coalesce(%(before)s::int8, 9223372036854775807)
 ORDER BY t.id DESC
 LIMIT %(limit)s::int4;
