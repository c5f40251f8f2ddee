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
    traceparent text DEFAULT NULL
) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    known  pgtask.tasks;
    size_limit bigint := (SELECT (value #>> '{}')::bigint FROM pgtask.settings WHERE name = 'max_payload_bytes');
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
    SELECT * INTO known FROM pgtask.tasks t WHERE t.name = task;
    LOOP
        INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy,
                                 retry_delay, max_retry_delay, timeout, tags, traceparent)
        VALUES (task, payload, coalesce(queue, known.queue, 'default'), coalesce(priority, known.priority, 1)::smallint,
                coalesce(scheduled_at, now() + delay, now()), unique_key, max_retries, retry_strategy::pgtask.retry_strategy,
                extract(epoch FROM retry_delay), extract(epoch FROM max_retry_delay), extract(epoch FROM timeout), tags, traceparent)
        ON CONFLICT DO NOTHING
        RETURNING jobs.id INTO job_id;
        IF job_id IS NOT NULL THEN
            RETURN job_id;
        END IF;
        SELECT j.id INTO job_id FROM pgtask.jobs j WHERE j.unique_key = enqueue.unique_key;
        IF job_id IS NOT NULL THEN
            RETURN job_id;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgtask.enqueue(text, jsonb, text, integer, interval, timestamptz, text, integer, text, interval, interval,
                                   interval, text[], text) IS
    'Enqueues a job with the task''s registered defaults and returns its id; with a unique_key that a live job holds, that job''s id.';

DO $$
DECLARE
    latter CONSTANT regprocedure := (SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pgtask'::regnamespace
                                        AND p.proname = 'enqueue' AND p.proargnames @> '{on_conflict}');
    grantee regrole;
BEGIN
    FOR grantee IN
        SELECT DISTINCT a.grantee
          FROM pg_proc p
         CROSS JOIN aclexplode(p.proacl) a
         WHERE p.oid = latter AND a.grantee NOT IN (0, p.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION pgtask.enqueue(text, jsonb, text, integer, interval, timestamptz, text, integer, '
                       'text, interval, interval, interval, text[], text) TO %s', grantee);
    END LOOP;
    EXECUTE format('DROP FUNCTION %s', latter);
END
$$;
REVOKE ALL ON FUNCTION pgtask.enqueue FROM PUBLIC;
DROP FUNCTION pgtask.enqueue_or_find, pgtask.check_unique, pgtask.meet_holder, pgtask.take_key,
    pgtask.holds_key, pgtask.payload_key;
