-- What a token may be used for, and whether its use has not been noted for a minute; only while it is neither revoked nor expired.
-- Locks nothing. Index: tokens_prefix.
SELECT t.name, t.digest, t.scopes, t.queues, t.rate_limit, coalesce(t.last_used_at < now() - interval '1 minute', true)
  FROM pgtask.tokens t
 WHERE t.prefix = %(prefix)s::text
   AND t.revoked_at IS NULL
   AND (t.expires_at IS NULL OR t.expires_at > now());
