-- Deletes up to so many rows each of what the API keeps and is past its retention. Locks: the rows deleted. Indexes: audit_pkey,
-- idempotency_keys_created_at.
SELECT p.audit, p.answers, p.tokens, p.rates FROM pgtask.prune_api(%(limit)s::int4) p;
