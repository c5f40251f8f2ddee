-- One job wherever it is. Index: jobs_pkey, runs_job_id.
SELECT id, task, queue, payload, priority, status, attempt, retry_count, crash_count, max_retries, retry_strategy, retry_delay,
       max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at, started_at, finished_at, worker_id,
       executor, progress, progress_message, cancel_requested_at, outcome, result, error_type, error, traceback,
       schedule_id, tick_at, start_by, concurrency_key, unique_scope, unique_until, dead_letter
  FROM pgtask.all_jobs
 WHERE id = %(id)s::int8;
