-- What decides when a job runs: limits of queues, of keys in a queue and of tasks, deadlines to start by, uniqueness beyond the
-- live jobs, dead letters, circuits. Locks: pgtask.jobs and pgtask.runs ACCESS EXCLUSIVE until the end, both before anything is
-- built; jobs are read once, for two indexes that stay empty and for checks. pgtask.queues and pgtask.tasks for a moment.

CREATE TYPE pgtask.unique_scope AS ENUM ('waiting', 'active', 'until_success', 'always');
CREATE TYPE pgtask.limit_scope AS ENUM ('queue', 'key', 'task', 'retry');
CREATE TYPE pgtask.circuit_state AS ENUM ('closed', 'open', 'half_open');

-- A unique_key of the scope active is held by jobs_unique_key. One of another scope, or with a window that ends at unique_until,
-- is a scoped_key, held by pgtask.unique_keys. dead_letter: of which job this is a copy, and what that one ended with. No claim changes any of these.
ALTER TABLE pgtask.jobs
    ADD COLUMN start_by timestamptz,
    ADD COLUMN unique_until timestamptz,
    ADD COLUMN unique_scope pgtask.unique_scope,
    ADD COLUMN scoped_key text,
    ADD COLUMN concurrency_key text,
    ADD COLUMN dead_letter jsonb,
    ADD CONSTRAINT jobs_concurrency_key_length CHECK (octet_length(concurrency_key) BETWEEN 1 AND 512),
    ADD CONSTRAINT jobs_scoped_key_length CHECK (octet_length(scoped_key) BETWEEN 1 AND 512),
    ADD CONSTRAINT jobs_scoped_key_whole CHECK ((unique_scope IS NULL) = (scoped_key IS NULL) AND (scoped_key IS NULL OR unique_key IS NULL));
ALTER TABLE pgtask.runs
    ADD COLUMN start_by timestamptz,
    ADD COLUMN unique_until timestamptz,
    ADD COLUMN unique_scope pgtask.unique_scope,
    ADD COLUMN scoped_key text,
    ADD COLUMN concurrency_key text,
    ADD COLUMN dead_letter jsonb;

-- Jobs with a concurrency key are claimed key by key. They are in jobs_lane, too, so that whatever counts lanes counts them.
CREATE INDEX jobs_keyed ON pgtask.jobs (queue, priority, concurrency_key, scheduled_at, (id + 0)) WHERE concurrency_key IS NOT NULL;
CREATE INDEX jobs_start_by ON pgtask.jobs (start_by) WHERE start_by IS NOT NULL;

-- max_workers: jobs running at once in the whole fleet; max_workers_per_key: of each concurrency key. rate_limit: starts in each
-- rate_period seconds, rate_burst of them at once. max_size: waiting jobs. retry_budget: retries as a share of starts.
ALTER TABLE pgtask.queues
    ADD COLUMN max_workers integer CONSTRAINT queues_max_workers_range CHECK (max_workers >= 0),
    ADD COLUMN max_workers_per_key integer NOT NULL DEFAULT 1 CONSTRAINT queues_max_workers_per_key_range CHECK (max_workers_per_key >= 1),
    ADD COLUMN rate_limit integer CONSTRAINT queues_rate_limit_range CHECK (rate_limit >= 1),
    ADD COLUMN rate_period double precision CONSTRAINT queues_rate_period_range CHECK (rate_period > 0 AND rate_period <= 1e9),
    ADD COLUMN rate_burst integer CONSTRAINT queues_rate_burst_range CHECK (rate_burst >= 1),
    ADD COLUMN max_size integer CONSTRAINT queues_max_size_range CHECK (max_size >= 1),
    ADD COLUMN retry_budget double precision CONSTRAINT queues_retry_budget_range CHECK (retry_budget >= 0 AND retry_budget <= 1),
    ADD COLUMN dead_letter_queue text CONSTRAINT queues_dead_letter_queue_length CHECK (octet_length(dead_letter_queue) BETWEEN 1 AND 128),
    ADD COLUMN limited boolean GENERATED ALWAYS AS (max_workers IS NOT NULL OR rate_limit IS NOT NULL) STORED,
    ADD CONSTRAINT queues_rate_whole CHECK (num_nulls(rate_limit, rate_period, rate_burst) IN (0, 3)),
    ADD CONSTRAINT queues_dead_letter_queue_other CHECK (dead_letter_queue <> name);

-- rate_set_by: who set the rate by hand; what the code of the task says does not change it then.
ALTER TABLE pgtask.tasks
    ADD COLUMN rate_limit integer CONSTRAINT tasks_rate_limit_range CHECK (rate_limit >= 1),
    ADD COLUMN rate_period double precision CONSTRAINT tasks_rate_period_range CHECK (rate_period > 0 AND rate_period <= 1e9),
    ADD COLUMN rate_burst integer CONSTRAINT tasks_rate_burst_range CHECK (rate_burst >= 1),
    ADD COLUMN rate_set_by text,
    ADD CONSTRAINT tasks_rate_whole CHECK (num_nulls(rate_limit, rate_period, rate_burst) IN (0, 3));

-- How much of a limit is taken. used: jobs running now, as many as there are holds. free_at: when a rate has its whole burst
-- again. A row is made by the first claim that needs it, locked in the order of the key, and changed by whoever claims or frees.
CREATE TABLE pgtask.limits (
    scope   pgtask.limit_scope NOT NULL,
    name    text NOT NULL,
    key     text NOT NULL DEFAULT '',
    used    integer NOT NULL DEFAULT 0,
    free_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00+00',
    PRIMARY KEY (scope, name, key)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0
);

-- One row per attempt that counts against max_workers of its queue, its concurrency key, or both. Whoever deletes it frees it.
CREATE TABLE pgtask.limit_holds (
    job_id          bigint NOT NULL,
    attempt         integer NOT NULL,
    in_queue        boolean NOT NULL,
    queue           text NOT NULL,
    concurrency_key text,
    PRIMARY KEY (job_id, attempt)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX limit_holds_queue ON pgtask.limit_holds (queue, concurrency_key);

-- Keys held beyond live jobs. expires_at NULL: for as long as the scope says.
CREATE TABLE pgtask.unique_keys (
    unique_key text PRIMARY KEY CHECK (octet_length(unique_key) BETWEEN 1 AND 512),
    job_id     bigint NOT NULL,
    scope      pgtask.unique_scope NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX unique_keys_job_id ON pgtask.unique_keys (job_id);

-- Whether a task's jobs may start. No row is closed. hold_until: when one of them may probe again, NULL only by hand.
CREATE TABLE pgtask.circuits (
    task          text PRIMARY KEY CHECK (octet_length(task) BETWEEN 1 AND 256),
    state         pgtask.circuit_state NOT NULL DEFAULT 'closed',
    changed_at    timestamptz NOT NULL DEFAULT now(),
    hold_until    timestamptz,
    probe_job_id  bigint,
    probe_attempt integer,
    changed_by    text,
    reason        text
);

-- Failed and quarantined jobs that somebody has dealt with and are dead letters no longer.
CREATE TABLE pgtask.resolutions (
    job_id      bigint PRIMARY KEY,
    resolved_at timestamptz NOT NULL DEFAULT now(),
    resolved_by text,
    note        text CONSTRAINT resolutions_note_length CHECK (octet_length(note) <= 4096)
);

CREATE OR REPLACE FUNCTION pgtask.cancel(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    job pgtask.jobs;
    ended pgtask.job_status;
BEGIN
    -- Locked first and acted on after, so that a claim or a completion under way is either seen whole or waits.
    SELECT * INTO job FROM pgtask.jobs j WHERE j.id = cancel.job_id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT r.status INTO ended FROM pgtask.runs r WHERE r.job_id = cancel.job_id AND r.final;
        RETURN ended;
    END IF;
    IF job.status = 'running' THEN
        UPDATE pgtask.jobs j SET cancel_requested_at = coalesce(j.cancel_requested_at, now()) WHERE j.id = cancel.job_id;
        PERFORM pg_notify('pgtask', json_build_object('cancel', job.id, 'attempt', job.attempt, 'worker', job.worker_id)::text);
        RETURN 'requested';
    END IF;
    DELETE FROM pgtask.jobs j WHERE j.id = cancel.job_id;
    INSERT INTO pgtask.runs (job_id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, retry_count, claims,
                             max_retries, outcome, status, retry_strategy, priority, crash_count, progress, final, queue, task,
                             payload, unique_key, traceparent, tags, progress_message, schedule_id, tick_at,
                             start_by, concurrency_key, scoped_key, unique_scope, unique_until,
                             dead_letter)
    VALUES (job.id, job.scheduled_at, job.created_at, job.timeout, job.retry_delay, job.max_retry_delay, job.retry_count,
            job.attempt, job.max_retries, 'cancelled', 'cancelled', job.retry_strategy, job.priority, job.crash_count,
            job.progress, true, job.queue, job.task, job.payload, job.unique_key, job.traceparent, job.tags, job.progress_message,
            job.schedule_id, job.tick_at, job.start_by, job.concurrency_key, job.scoped_key, job.unique_scope,
            job.unique_until, job.dead_letter);
    RETURN 'cancelled';
END
$$;

CREATE OR REPLACE FUNCTION pgtask.retry(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    run pgtask.runs;
    holder bigint;
BEGIN
    SELECT * INTO run FROM pgtask.runs r WHERE r.job_id = retry.job_id AND r.final FOR UPDATE;
    IF NOT FOUND THEN
        RETURN (SELECT 'active' FROM pgtask.jobs j WHERE j.id = retry.job_id);
    END IF;
    IF run.status = 'completed' THEN
        RETURN 'completed';
    END IF;
    SELECT j.id INTO holder FROM pgtask.jobs j WHERE j.unique_key = run.unique_key;
    IF holder IS NOT NULL THEN
        RAISE EXCEPTION 'job % cannot be retried: job % holds its unique key %', job_id, holder, run.unique_key
            USING ERRCODE = 'unique_violation', HINT = 'Cancel the holder or wait until it ends.';
    END IF;
    UPDATE pgtask.runs r SET final = false, status = NULL
        WHERE r.job_id = retry.job_id AND r.final AND r.finished_at = run.finished_at;
    INSERT INTO pgtask.jobs (id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, attempt, max_retries,
                             retry_strategy, priority, queue, task, payload, unique_key, traceparent, tags,
                             schedule_id, tick_at, start_by, concurrency_key, scoped_key, unique_scope, unique_until,
                             dead_letter)
    VALUES (run.job_id, run.scheduled_at, run.created_at, run.timeout, run.retry_delay, run.max_retry_delay, run.claims,
            run.max_retries, run.retry_strategy, run.priority, run.queue, run.task, run.payload, run.unique_key,
            run.traceparent, run.tags, run.schedule_id, run.tick_at, run.start_by, run.concurrency_key, run.scoped_key,
            run.unique_scope, run.unique_until, run.dead_letter);
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;

CREATE OR REPLACE VIEW pgtask.all_jobs AS
    SELECT id, task, queue, payload, priority,
           CASE WHEN status = 'running' THEN 'running'
                WHEN retry_count > 0 THEN 'retrying'
                WHEN scheduled_at > now() THEN 'scheduled'
                ELSE 'pending' END AS status,
           attempt, retry_count, crash_count, max_retries, retry_strategy::text AS retry_strategy, retry_delay,
           max_retry_delay, timeout, coalesce(unique_key, scoped_key) AS unique_key, tags, traceparent, created_at,
           scheduled_at, started_at,
           NULL::timestamptz AS finished_at, worker_id, executor, progress, progress_message, cancel_requested_at,
           NULL::text AS outcome, NULL::jsonb AS result, NULL::text AS error_type, NULL::text AS error, NULL::text AS traceback,
           schedule_id, tick_at, start_by, concurrency_key, unique_scope::text AS unique_scope, unique_until, dead_letter
      FROM pgtask.jobs
    UNION ALL
    SELECT job_id, task, queue, payload, priority, status::text, claims, retry_count, crash_count, max_retries,
           retry_strategy::text, retry_delay, max_retry_delay, timeout, coalesce(unique_key, scoped_key), tags, traceparent, created_at,
           scheduled_at,
           started_at, finished_at, worker_id, executor, progress, progress_message, NULL, outcome::text, result, error_type,
           error, traceback, schedule_id, tick_at, start_by, concurrency_key, unique_scope::text, unique_until, dead_letter
      FROM pgtask.runs
     WHERE final;
