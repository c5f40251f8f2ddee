-- What a token may be used for; only while it is neither revoked nor expired. Locks nothing. Index: tokens_prefix.
SELECT t.name, t.digest, t.scopes, t.queues, t.rate_limit
  FROM pgtask.tokens t
 WHERE t.prefix = %(prefix)s::text
   AND t.revoked_at IS NULL
   AND (t.expires_at IS NULL OR t.expires_at > now());
