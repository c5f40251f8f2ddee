-- One token, by its id or its name. Locks nothing. Indexes: tokens_pkey, tokens_name.
SELECT t.id, t.name, t.prefix, t.scopes, t.queues, t.rate_limit, t.created_at, t.created_by, t.expires_at, t.revoked_at, t.revoked_by,
       t.last_used_at, t.last_used_from
  FROM pgtask.tokens t
 WHERE t.id = %(id)s::int4 OR t.name = %(name)s::text;
