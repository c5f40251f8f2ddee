DROP VIEW pgtask.all_jobs;
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
                             payload, unique_key, traceparent, tags, progress_message, schedule_id, tick_at)
    VALUES (job.id, job.scheduled_at, job.created_at, job.timeout, job.retry_delay, job.max_retry_delay, job.retry_count,
            job.attempt, job.max_retries, 'cancelled', 'cancelled', job.retry_strategy, job.priority, job.crash_count,
            job.progress, true, job.queue, job.task, job.payload, job.unique_key, job.traceparent, job.tags, job.progress_message,
            job.schedule_id, job.tick_at);
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
                             schedule_id, tick_at)
    VALUES (run.job_id, run.scheduled_at, run.created_at, run.timeout, run.retry_delay, run.max_retry_delay, run.claims,
            run.max_retries, run.retry_strategy, run.priority, run.queue, run.task, run.payload, run.unique_key,
            run.traceparent, run.tags, run.schedule_id, run.tick_at);
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;

CREATE VIEW pgtask.all_jobs AS
    SELECT id, task, queue, payload, priority,
           CASE WHEN status = 'running' THEN 'running'
                WHEN retry_count > 0 THEN 'retrying'
                WHEN scheduled_at > now() THEN 'scheduled'
                ELSE 'pending' END AS status,
           attempt, retry_count, crash_count, max_retries, retry_strategy::text AS retry_strategy, retry_delay,
           max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at, started_at,
           NULL::timestamptz AS finished_at, worker_id, executor, progress, progress_message, cancel_requested_at,
           NULL::text AS outcome, NULL::jsonb AS result, NULL::text AS error_type, NULL::text AS error, NULL::text AS traceback,
           schedule_id, tick_at
      FROM pgtask.jobs
    UNION ALL
    SELECT job_id, task, queue, payload, priority, status::text, claims, retry_count, crash_count, max_retries,
           retry_strategy::text, retry_delay, max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at,
           started_at, finished_at, worker_id, executor, progress, progress_message, NULL, outcome::text, result, error_type,
           error, traceback, schedule_id, tick_at
      FROM pgtask.runs
     WHERE final;

DROP TABLE pgtask.resolutions, pgtask.circuits, pgtask.unique_keys, pgtask.limit_holds, pgtask.limits;
ALTER TABLE pgtask.tasks DROP COLUMN rate_limit, DROP COLUMN rate_period, DROP COLUMN rate_burst, DROP COLUMN rate_set_by;
ALTER TABLE pgtask.queues DROP COLUMN limited, DROP COLUMN max_workers, DROP COLUMN max_workers_per_key, DROP COLUMN rate_limit,
    DROP COLUMN rate_period, DROP COLUMN rate_burst, DROP COLUMN max_size, DROP COLUMN retry_budget,
    DROP COLUMN dead_letter_queue;
DROP INDEX pgtask.jobs_start_by, pgtask.jobs_keyed;
ALTER TABLE pgtask.runs DROP COLUMN dead_letter, DROP COLUMN concurrency_key, DROP COLUMN scoped_key, DROP COLUMN unique_scope, DROP COLUMN unique_until,
    DROP COLUMN start_by;
ALTER TABLE pgtask.jobs DROP COLUMN dead_letter, DROP COLUMN concurrency_key, DROP COLUMN scoped_key, DROP COLUMN unique_scope, DROP COLUMN unique_until,
    DROP COLUMN start_by;
DROP TYPE pgtask.circuit_state, pgtask.limit_scope, pgtask.unique_scope;
