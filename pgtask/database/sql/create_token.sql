-- Stores a token by its hash. Locks: the new row.
INSERT INTO pgtask.tokens (name, prefix, digest, scopes, queues, rate_limit, created_by, expires_at)
VALUES (%(name)s::text, %(prefix)s::text, %(digest)s::bytea, %(scopes)s::text[], %(queues)s::text[], %(rate_limit)s::float8,
        %(created_by)s::text, now() + %(lifetime)s::float8 * interval '1 second')
RETURNING id;
