-- What the API server needs besides the rights of an operator and of a worker. It adds to the audit and reads it, and can neither
-- change nor delete what is there.
DO $$
BEGIN
    GRANT SELECT, INSERT, UPDATE (revoked_at, revoked_by, last_used_at, last_used_from) ON pgtask.tokens TO {role};
    GRANT SELECT, INSERT ON pgtask.audit TO {role};
    GRANT SELECT, INSERT, UPDATE (status, headers, body) ON pgtask.idempotency_keys TO {role};
    GRANT SELECT, INSERT, UPDATE ON pgtask.request_rates TO {role};
END
$$;
