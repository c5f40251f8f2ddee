-- Ends up to %(limit)s waiting jobs that were not started by their start_by; each gets a final run without an attempt.
-- Locks: those rows, in the order of their deadlines, skipping what others hold: a claim or a cancel under way goes first, and
-- as nothing is waited for, no order could lock crosswise. Index: jobs_start_by, where running jobs are passed over, of which
-- there are no more than slots; jobs_pkey.
WITH due AS MATERIALIZED (
    SELECT j.id
      FROM pgtask.jobs j
     WHERE j.start_by <= now()
       AND j.status = 'pending'
     ORDER BY j.start_by
     LIMIT %(limit)s::int4
       FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM pgtask.jobs j
     WHERE j.id = ANY (ARRAY(SELECT id FROM due))
    RETURNING j.id, j.scheduled_at, j.created_at, j.timeout, j.retry_delay, j.max_retry_delay, j.retry_count, j.attempt,
              j.max_retries, j.retry_strategy, j.priority, j.crash_count, j.progress, j.queue, j.task, j.payload, j.unique_key,
              j.traceparent, j.tags, j.progress_message, j.schedule_id, j.tick_at, j.start_by, j.concurrency_key, j.scoped_key,
              j.unique_scope, j.unique_until, j.dead_letter
), recorded AS (
    INSERT INTO pgtask.runs (job_id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, retry_count, claims,
                             max_retries, outcome, status, retry_strategy, priority, crash_count, progress, final, queue, task,
                             payload, unique_key, traceparent, tags, progress_message, schedule_id, tick_at, start_by,
                             concurrency_key, scoped_key, unique_scope, unique_until, dead_letter, error_type, error)
    SELECT e.id, e.scheduled_at, e.created_at, e.timeout, e.retry_delay, e.max_retry_delay, e.retry_count, e.attempt,
           e.max_retries, 'cancelled', 'cancelled', e.retry_strategy, e.priority, e.crash_count, e.progress, true, e.queue, e.task,
           e.payload, e.unique_key, e.traceparent, e.tags, e.progress_message, e.schedule_id, e.tick_at, e.start_by,
           e.concurrency_key, e.scoped_key, e.unique_scope, e.unique_until, e.dead_letter, 'Expired',
           'It was not started by '
           || coalesce(to_char(e.start_by AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), e.start_by::text)
      FROM ended e
    RETURNING 1
)
SELECT count(*) FROM recorded;
