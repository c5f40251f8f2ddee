-- Workers over HTTP: whose they are, and what they may hold. Locks: pgtask.workers ACCESS EXCLUSIVE, for a moment.

ALTER TABLE pgtask.workers ADD COLUMN token text;
COMMENT ON COLUMN pgtask.workers.token IS 'Name of the token that registered it over HTTP; NULL for a worker with a connection of its own.';

-- One row for each fetch, in the transaction of its claim, and one for each heartbeat that names jobs; the heartbeats take them
-- away. No index may find the running jobs of a worker, so this tells what was claimed for one that never heard of it.
CREATE TABLE pgtask.holdings (
    worker_id integer NOT NULL CONSTRAINT holdings_worker REFERENCES pgtask.workers (id) ON DELETE CASCADE,
    noted_at timestamptz NOT NULL DEFAULT now(),
    named boolean NOT NULL,
    ids bigint[] NOT NULL,
    attempts integer[] NOT NULL
);
CREATE INDEX holdings_worker_id ON pgtask.holdings (worker_id);
COMMENT ON TABLE pgtask.holdings IS 'Attempts that workers over HTTP may hold: given to them, or named by them.';
