-- How many jobs may wait in a queue, and by when a job must start. Locks: pgtask.queues for a moment.

-- The sizes of queues whose max_size is beyond what is counted at each enqueue. No more than `waiting` jobs waited at counted_at,
-- when last_id was the latest id drawn.
CREATE TABLE pgtask.queue_sizes (
    queue      text PRIMARY KEY REFERENCES pgtask.queues ON DELETE CASCADE,
    waiting    integer NOT NULL,
    last_id    bigint NOT NULL,
    counted_at timestamptz NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0
);

-- A look at it costs an INSERT a third of what a call of size_exceeded does, which most queues need not. Producers, who may not
-- read queues, see the names of those that may refuse them.
CREATE VIEW pgtask.sized_queues WITH (security_barrier = true) AS
    SELECT q.name FROM pgtask.queues q WHERE q.max_size IS NOT NULL;
COMMENT ON VIEW pgtask.sized_queues IS 'The queues in which no more than so many jobs may wait.';

-- The settings keep it from reading the whole table when the statistics are old: the index is jobs_lane.
CREATE FUNCTION pgtask.waiting_jobs(queue text, up_to integer) RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (SELECT count(*)
              FROM (SELECT FROM pgtask.jobs j
                     WHERE j.queue = waiting_jobs.queue AND j.status = 'pending'
                     LIMIT up_to) waiting);
END
$$;
COMMENT ON FUNCTION pgtask.waiting_jobs IS 'How many jobs wait in a queue, scheduled and retrying ones included; no further than up_to.';

CREATE FUNCTION pgtask.count_queue(queue text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    -- Before the count: what is enqueued meanwhile is then counted twice rather than not at all.
    latest  bigint := coalesce(pg_sequence_last_value('pgtask.jobs_id_seq'::regclass), 0);
    counted integer := pgtask.waiting_jobs(queue, (SELECT q.max_size FROM pgtask.queues q WHERE q.name = queue));
BEGIN
    UPDATE pgtask.queue_sizes s
       SET waiting = counted, last_id = latest, counted_at = clock_timestamp()
     WHERE s.queue = (SELECT o.queue FROM pgtask.queue_sizes o WHERE o.queue = count_queue.queue FOR UPDATE SKIP LOCKED);
    RETURN counted;
END
$$;
COMMENT ON FUNCTION pgtask.count_queue IS 'Counts the waiting jobs of a queue, up to its max_size, and keeps the number.';

CREATE FUNCTION pgtask.keep_size() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    INSERT INTO pgtask.queue_sizes (queue, waiting, last_id, counted_at) VALUES (NEW.name, 0, 0, '-infinity')
        ON CONFLICT DO NOTHING;
    PERFORM pgtask.count_queue(NEW.name);
    RETURN NULL;
END
$$;
CREATE TRIGGER queues_size AFTER INSERT OR UPDATE OF max_size ON pgtask.queues
    FOR EACH ROW WHEN (NEW.max_size > 1000) EXECUTE FUNCTION pgtask.keep_size();
INSERT INTO pgtask.queue_sizes (queue, waiting, last_id, counted_at)
    SELECT q.name, 0, 0, '-infinity' FROM pgtask.queues q WHERE q.max_size > 1000;

-- Up to 1,000 jobs are counted each time. For more a count is kept: as many ids as were drawn since bound what has come in all
-- queues together. When that is too many, the count itself decides for 5 microseconds per job that it found, as counting takes
-- about half a microsecond for each; then the caller counts, and keeps what it found unless its transaction looks at one
-- instant: that would fail if somebody else had done so.
CREATE FUNCTION pgtask.fits(queue text, count integer, max_size integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    size pgtask.queue_sizes;
BEGIN
    IF count > max_size THEN
        RETURN false;
    END IF;
    IF max_size > 1000 THEN
        SELECT * INTO size FROM pgtask.queue_sizes s WHERE s.queue = fits.queue;
        IF size.waiting + (pg_sequence_last_value('pgtask.jobs_id_seq'::regclass) - size.last_id) + count <= max_size THEN
            RETURN true;
        END IF;
        IF size.counted_at > clock_timestamp() - make_interval(secs => size.waiting * 0.000005) THEN
            RETURN size.waiting + count <= max_size;
        END IF;
    END IF;
    IF size.queue IS NOT NULL AND current_setting('transaction_isolation') = 'read committed' THEN
        RETURN pgtask.count_queue(queue) + count <= max_size;
    END IF;
    RETURN pgtask.waiting_jobs(queue, max_size - count + 1) + count <= max_size;
END
$$;
COMMENT ON FUNCTION pgtask.fits IS 'Whether so many more jobs may wait in a queue of this max_size.';

CREATE FUNCTION pgtask.size_exceeded(queue text, count integer) RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    bound integer := (SELECT q.max_size FROM pgtask.queues q WHERE q.name = size_exceeded.queue);
BEGIN
    IF bound IS NULL OR pgtask.fits(queue, count, bound) THEN
        RETURN NULL;
    END IF;
    RETURN bound;
END
$$;
COMMENT ON FUNCTION pgtask.size_exceeded IS
    'The max_size of a queue in which so many more jobs may not wait; NULL when they may.';

CREATE FUNCTION pgtask.admit(queue text, count integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    exceeded integer := pgtask.size_exceeded(queue, count);
BEGIN
    IF exceeded IS NOT NULL THEN
        RAISE EXCEPTION 'queue % is full: no more than % jobs may wait in it', queue, exceeded
            USING ERRCODE = 'PT429', DETAIL = jsonb_build_object('queue', queue, 'max_size', exceeded)::text,
                  HINT = 'Try again later, or raise its max_size.';
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.admit IS
    'Raises SQLSTATE PT429 when so many more jobs may not wait in a queue; DETAIL is JSON with its queue and max_size.';

DROP FUNCTION pgtask.enqueue;
CREATE FUNCTION pgtask.enqueue(
    task text,
    payload jsonb DEFAULT '{}',
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    delay interval DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL,
    max_retries integer DEFAULT NULL,
    retry_strategy text DEFAULT NULL,
    retry_delay interval DEFAULT NULL,
    max_retry_delay interval DEFAULT NULL,
    timeout interval DEFAULT NULL,
    tags text[] DEFAULT NULL,
    traceparent text DEFAULT NULL,
    concurrency_key text DEFAULT NULL,
    start_by timestamptz DEFAULT NULL
) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    known  pgtask.tasks;
    size_limit bigint := (SELECT (value #>> '{}')::bigint FROM pgtask.settings WHERE name = 'max_payload_bytes');
    due    timestamptz := coalesce(scheduled_at, now() + delay, now());
    job_id bigint;
BEGIN
    IF task IS NULL OR task = '' THEN
        RAISE EXCEPTION 'task is missing: name the task to run' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'payload must be a JSON object of keyword arguments, not %', coalesce(jsonb_typeof(payload), 'SQL NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(payload::text) > size_limit THEN
        RAISE EXCEPTION 'payload has % bytes; the limit is % (setting max_payload_bytes)', octet_length(payload::text), size_limit
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Store the data elsewhere and pass a reference to it.';
    END IF;
    IF delay IS NOT NULL AND scheduled_at IS NOT NULL THEN
        RAISE EXCEPTION 'give delay or scheduled_at, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF priority NOT BETWEEN -100 AND 100 THEN
        RAISE EXCEPTION 'priority % is out of range: it lies between -100 and 100', priority USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF start_by <= clock_timestamp() THEN
        RAISE EXCEPTION 'start_by % has passed: give an instant to come', start_by USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF start_by < due THEN
        RAISE EXCEPTION 'start_by % is before the job is due, at %: it would never start', start_by, due
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO known FROM pgtask.tasks t WHERE t.name = task;
    queue := coalesce(queue, known.queue, 'default');
    LOOP
        INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy,
                                 retry_delay, max_retry_delay, timeout, tags, traceparent, concurrency_key, start_by)
        SELECT task, payload, queue, coalesce(priority, known.priority, 1)::smallint, due, unique_key, max_retries,
               retry_strategy::pgtask.retry_strategy, extract(epoch FROM retry_delay), extract(epoch FROM max_retry_delay),
               extract(epoch FROM timeout), tags, traceparent, concurrency_key, start_by
         WHERE (SELECT pgtask.size_exceeded(s.name, 1) FROM pgtask.sized_queues s WHERE s.name = queue) IS NULL
        ON CONFLICT DO NOTHING
        RETURNING jobs.id INTO job_id;
        IF job_id IS NOT NULL THEN
            RETURN job_id;
        END IF;
        SELECT j.id INTO job_id FROM pgtask.jobs j WHERE j.unique_key = enqueue.unique_key;
        IF job_id IS NOT NULL THEN
            RETURN job_id;
        END IF;
        PERFORM pgtask.admit(queue, 1);
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgtask.enqueue IS
    'Enqueues a job with the task''s registered defaults and returns its id; with a unique_key that a live job holds, that job''s id. Raises PT429 when as many jobs wait in its queue as may, by its max_size.';

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
            run.traceparent, run.tags, run.schedule_id, run.tick_at, NULL, run.concurrency_key, run.scoped_key,
            run.unique_scope, run.unique_until, run.dead_letter);
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;

REVOKE ALL ON FUNCTION pgtask.enqueue, pgtask.waiting_jobs, pgtask.count_queue, pgtask.keep_size, pgtask.fits, pgtask.size_exceeded,
    pgtask.admit FROM PUBLIC;
