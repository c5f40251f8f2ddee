-- Moves finished jobs to the run history. Ages are seconds before this statement, so that only the database's clock counts.
-- Fenced by (id, attempt, worker): an id that does not come back was no longer ours. Index: jobs_pkey; locks rows in the order sent.
WITH finished AS (
    DELETE FROM pgtask.jobs j
     USING unnest(%(ids)s::int8[], %(attempts)s::int4[], %(started)s::float8[], %(ended)s::float8[], %(results)s::text[])
           AS done (id, attempt, started, ended, result)
     WHERE j.id = done.id
       AND j.attempt = done.attempt
       AND j.worker_id = %(worker_id)s::int4
       AND j.status = 'running'
    RETURNING j.*, done.started, done.ended, done.result
)
INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, created_at, timeout, retry_delay, max_retry_delay,
                         attempt, retry_count, claims, max_retries, worker_id, executor, outcome, status, retry_strategy,
                         priority, crash_count, progress, final, queue, task, payload, unique_key, traceparent, tags,
                         progress_message, result)
SELECT id, clock_timestamp() - make_interval(secs => ended), clock_timestamp() - make_interval(secs => started), scheduled_at,
       created_at, timeout, retry_delay, max_retry_delay, attempt, retry_count, attempt, max_retries, worker_id, executor,
       'completed', 'completed', retry_strategy, priority, crash_count, progress, true, queue, task, payload, unique_key,
       traceparent, tags, progress_message, result::jsonb
  FROM finished
RETURNING job_id;
