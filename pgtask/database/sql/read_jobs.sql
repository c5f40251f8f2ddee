-- Jobs by id, live or ended, newest first; payload, result and traceback, which may be large, only where they are asked for.
-- Takes no locks. Index: jobs_pkey, runs_job_id.
SELECT id, task, queue, CASE WHEN %(payload)s::bool THEN payload END AS payload, priority, status, attempt, retry_count,
       crash_count, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at, started_at, finished_at, worker_id,
       executor, progress, progress_message, cancel_requested_at, outcome,
       CASE WHEN %(result)s::bool THEN result END AS result, error_type, error,
       CASE WHEN %(traceback)s::bool THEN traceback END AS traceback,
       schedule_id, tick_at, start_by, concurrency_key, unique_scope, unique_until, dead_letter
  FROM pgtask.all_jobs
 WHERE id = ANY (%(ids)s::int8[])
 ORDER BY id DESC;
