-- Moves finished jobs to the run history. Ages are seconds before this statement, so that only the database's clock counts.
-- Fenced by (id, attempt, worker): an id that does not come back was no longer ours. The ids must ascend: width_bucket then
-- finds a row's place in the other arrays. Not joined: a plan made while the table was small would scan all of it for each
-- batch once it is large. Index: jobs_pkey, once per id; locks the rows it deletes.
WITH finished AS (
    DELETE FROM pgtask.jobs j
     WHERE j.id = ANY (%(ids)s::int8[])
       AND j.attempt = (%(attempts)s::int4[])[width_bucket(j.id, %(ids)s::int8[])]
       AND j.worker_id = %(worker_id)s::int4
       AND j.status = 'running'
    RETURNING j.*, width_bucket(j.id, %(ids)s::int8[]) AS place
)
INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, created_at, timeout, retry_delay, max_retry_delay,
                         attempt, retry_count, claims, max_retries, worker_id, executor, outcome, status, retry_strategy,
                         priority, crash_count, progress, final, queue, task, payload, unique_key, traceparent, tags,
                         progress_message, result, cpu_seconds, peak_rss_bytes, schedule_id, tick_at, start_by, concurrency_key,
                         scoped_key, unique_scope, unique_until, dead_letter)
SELECT id, clock_timestamp() - make_interval(secs => (%(ended)s::float8[])[place]),
       clock_timestamp() - make_interval(secs => (%(started)s::float8[])[place]), scheduled_at,
       created_at, timeout, retry_delay, max_retry_delay, attempt, retry_count, attempt, max_retries, worker_id, executor,
       'completed', 'completed', retry_strategy, priority, crash_count, progress, true, queue, task, payload, unique_key,
       traceparent, tags, progress_message, (%(results)s::text[])[place]::jsonb, (%(cpu_seconds)s::float8[])[place]::real,
       (%(peak_rss_bytes)s::int8[])[place], schedule_id, tick_at, start_by, concurrency_key, scoped_key,
       unique_scope, unique_until, dead_letter
  FROM finished
RETURNING job_id;
