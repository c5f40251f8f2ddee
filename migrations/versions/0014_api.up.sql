-- Who may use the API, how often, what they did, and the answers that are repeated for a repeated request. Locks: none of note.

-- A token is `pgt_<prefix>_<secret>`; of the secret only the SHA-256 is kept, which is enough as it is random and long.
CREATE TABLE pgtask.tokens (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT tokens_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT tokens_name UNIQUE CONSTRAINT tokens_name_length CHECK (octet_length(name) BETWEEN 1 AND 128),
    prefix text NOT NULL CONSTRAINT tokens_prefix UNIQUE,
    digest bytea NOT NULL CONSTRAINT tokens_digest_length CHECK (octet_length(digest) = 32),
    scopes text[] NOT NULL
        CONSTRAINT tokens_scopes_known CHECK (scopes <@ ARRAY['read', 'enqueue', 'operate', 'worker', 'admin'] AND cardinality(scopes) > 0),
    -- NULL means all.
    queues text[],
    -- Requests a second; NULL means the server's own limit.
    rate_limit double precision CONSTRAINT tokens_rate_limit_range CHECK (rate_limit > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    last_used_at timestamptz,
    last_used_from text
);
COMMENT ON TABLE pgtask.tokens IS 'Bearer tokens of the API, by the hash of their secrets.';

-- Written in the transaction of what was asked, so that an answer is kept if and only if it was done.
CREATE TABLE pgtask.idempotency_keys (
    actor text NOT NULL,
    key text NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (octet_length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL,
    status smallint,
    headers jsonb,
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_keys_created_at ON pgtask.idempotency_keys (created_at);
COMMENT ON TABLE pgtask.idempotency_keys IS 'Answers to requests with an Idempotency-Key, for those who ask again.';

CREATE TABLE pgtask.audit (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_pkey PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    address text,
    action text NOT NULL,
    subject text,
    details jsonb,
    request_id text
);
CREATE INDEX audit_at ON pgtask.audit USING brin (at);
CREATE INDEX audit_actor ON pgtask.audit (actor, id);
CREATE INDEX audit_action ON pgtask.audit (action, id);
COMMENT ON TABLE pgtask.audit IS 'Who changed what through the API and the pages; written in the transaction of the change.';

-- How often each caller may still ask: shared by all server processes, and worth nothing after a crash.
CREATE UNLOGGED TABLE pgtask.request_rates (
    caller text NOT NULL CONSTRAINT request_rates_pkey PRIMARY KEY,
    free_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtask.request_rates IS 'Until when each caller of the API has used up its rate.';

INSERT INTO pgtask.settings (name, value, description) VALUES
    ('audit_retention_days', '90', 'Days that the audit is kept.'),
    ('audit_enqueues', '1', 'Whether jobs enqueued through the API are audited: 1 yes, 0 no. Other changes always are.'),
    ('idempotency_hours', '24', 'Hours that the answer to a request with an Idempotency-Key is kept.');
