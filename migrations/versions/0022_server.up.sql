-- Pruning what the API keeps: who leads the upkeep may have expired rows of the audit deleted, and no others. Locks: none of note.

CREATE FUNCTION pgtask.prune_api("limit" integer, OUT audit integer, OUT answers integer, OUT tokens integer, OUT rates integer)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    -- A retention beyond any calendar counts as a hundred years; without the setting all is kept.
    audit_before timestamptz := now() - (SELECT make_interval(secs => 86400 * least(greatest((s.value #>> '{}')::double precision, 0), 36500))
                                           FROM pgtask.settings s
                                          WHERE s.name = 'audit_retention_days');
    answers_before timestamptz := now() - (SELECT make_interval(secs => 3600 * least(greatest((s.value #>> '{}')::double precision, 0), 876000))
                                             FROM pgtask.settings s
                                            WHERE s.name = 'idempotency_hours');
BEGIN
    -- Ids rise with time, so the oldest are found at the start of the key.
    DELETE FROM pgtask.audit a
     WHERE a.id IN (SELECT o.id FROM (SELECT x.id, x.at FROM pgtask.audit x ORDER BY x.id LIMIT "limit") o WHERE o.at < audit_before);
    GET DIAGNOSTICS audit = ROW_COUNT;
    DELETE FROM pgtask.idempotency_keys k
     WHERE k.ctid = ANY (ARRAY(SELECT o.ctid
                                 FROM pgtask.idempotency_keys o
                                WHERE o.created_at < answers_before
                                ORDER BY o.created_at
                                LIMIT "limit"));
    GET DIAGNOSTICS answers = ROW_COUNT;
    -- As long as the audit names a token, its name is not free for another.
    DELETE FROM pgtask.tokens t
     WHERE t.id IN (SELECT o.id FROM pgtask.tokens o WHERE least(o.revoked_at, o.expires_at) < audit_before LIMIT "limit");
    GET DIAGNOSTICS tokens = ROW_COUNT;
    DELETE FROM pgtask.request_rates r
     WHERE r.ctid = ANY (ARRAY(SELECT o.ctid
                                 FROM pgtask.request_rates o
                                -- Without an index, which would cost each request more than this scan does in an hour.
                                WHERE o.free_at < now() - interval '1 hour'
                                LIMIT "limit"
                                  FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS rates = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION pgtask.prune_api IS
    'Deletes up to so many rows each of what is past its retention: audit, kept answers, ended tokens, rates; says how many.';
REVOKE ALL ON FUNCTION pgtask.prune_api FROM PUBLIC;
