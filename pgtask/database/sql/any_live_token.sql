-- Whether anyone holds a token that permits something now. Locks nothing; the table is small.
SELECT EXISTS (SELECT FROM pgtask.tokens t WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()));
