-- Actions on all jobs that a filter means, worked off a chunk at a time by whoever has time. Locks: none.

CREATE TABLE pgtask.bulk_operations (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT bulk_operations_pkey PRIMARY KEY,
    action text NOT NULL CONSTRAINT bulk_operations_action CHECK (action IN ('cancel', 'retry', 'delete', 'resolve')),
    target text NOT NULL CONSTRAINT bulk_operations_target CHECK (target IN ('jobs', 'dead_letters')),
    status text NOT NULL DEFAULT 'pending'
        CONSTRAINT bulk_operations_status CHECK (status IN ('pending', 'running', 'completed', 'cancelled', 'failed')),
    filter jsonb NOT NULL,
    -- What else the action is told: a note, a rate.
    options jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,
    started_at timestamptz,
    finished_at timestamptz,
    cancel_requested_at timestamptz,
    -- How many matched when it was made, at least, unless exact.
    matched bigint NOT NULL,
    exact boolean NOT NULL,
    processed bigint NOT NULL DEFAULT 0,
    -- How many jobs got each answer, and the first refusals with their reasons.
    answers jsonb NOT NULL DEFAULT '{}',
    refusals jsonb NOT NULL DEFAULT '[]',
    -- From where and to where it goes: what comes to match later is not caught.
    position jsonb,
    bound jsonb,
    -- Chunks that could not be done in a row, and why the last one could not.
    failures integer NOT NULL DEFAULT 0,
    error text
);
CREATE INDEX bulk_operations_due ON pgtask.bulk_operations (id) WHERE status IN ('pending', 'running');
COMMENT ON TABLE pgtask.bulk_operations IS 'Actions on all jobs that a filter means, and how far they are.';
