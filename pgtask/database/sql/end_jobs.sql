-- Ends attempts that did not complete: retries the job with its backoff, gives it back, or finishes it for good.
-- Policy: the job's own, else its task's, else its queue's, else the built-in one. A started attempt leaves a run; one that
-- never started (started IS NULL) leaves none unless it is the job's end. A cancel request ends the job whatever the outcome.
-- Fenced by (id, attempt, worker); the rows are locked first, so that a cancel request under way is seen or waits.
-- Index: jobs_pkey.
WITH given AS MATERIALIZED (
    SELECT id, attempt, started, ended, outcome::pgtask.run_outcome, final, delay, error_type, error, traceback
      FROM unnest(%(ids)s::int8[], %(attempts)s::int4[], %(started)s::float8[], %(ended)s::float8[], %(outcomes)s::text[],
                  %(finals)s::bool[], %(delays)s::float8[], %(error_types)s::text[], %(errors)s::text[],
                  %(tracebacks)s::text[])
           AS g (id, attempt, started, ended, outcome, final, delay, error_type, error, traceback)
), locked AS MATERIALIZED (
    SELECT g.*, j.cancel_requested_at IS NOT NULL AS cancelled, j.retry_count AS retries_before, j.task, j.queue, j.priority,
           j.scheduled_at,
           coalesce(j.max_retries, t.max_retries, q.max_retries, 3) AS limit_retries,
           coalesce(j.retry_strategy, t.retry_strategy, q.retry_strategy, 'exponential') AS strategy,
           coalesce(j.retry_delay, t.retry_delay, q.retry_delay, 15) AS base,
           coalesce(j.max_retry_delay, t.max_retry_delay, q.max_retry_delay, 3600) AS longest
      FROM given g
      JOIN pgtask.jobs j ON j.id = g.id
      LEFT JOIN pgtask.tasks t ON t.name = j.task
      LEFT JOIN pgtask.queues q ON q.name = j.queue
     WHERE j.attempt = g.attempt AND j.worker_id = %(worker_id)s::int4 AND j.status = 'running'
       FOR UPDATE OF j
), charged AS MATERIALIZED (
    SELECT l.*, (l.outcome IN ('failed', 'timeout', 'crashed'))::int4 AS charge
      FROM locked l
), decided AS MATERIALIZED (
    SELECT c.*,
           c.final OR c.cancelled OR (c.charge = 1 AND c.limit_retries >= 0 AND c.retries_before >= c.limit_retries) AS ends,
           CASE WHEN c.delay IS NOT NULL THEN now() + make_interval(secs => c.delay)
                WHEN c.charge = 0 THEN c.scheduled_at
                ELSE now() + make_interval(secs => least(c.longest, c.base * CASE c.strategy
                        WHEN 'fixed' THEN 1
                        WHEN 'linear' THEN c.retries_before + 1
                        ELSE power(2, least(c.retries_before, 60))
                    END) * (0.9 + random() * 0.2))
           END AS due
      FROM charged c
), returned AS (
    UPDATE pgtask.jobs j
       SET status = 'pending', worker_id = NULL, executor = NULL, started_at = NULL, scheduled_at = d.due,
           retry_count = j.retry_count + d.charge,
           crash_count = j.crash_count + (d.outcome = 'crashed')::int4
      FROM decided d
     WHERE j.id = d.id AND NOT d.ends
    RETURNING j.id
), finished AS (
    DELETE FROM pgtask.jobs j
     USING decided d
     WHERE j.id = d.id AND d.ends
    RETURNING j.*
), recorded AS (
    INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, created_at, timeout, retry_delay, max_retry_delay,
                             attempt, retry_count, claims, max_retries, worker_id, executor, outcome, status, retry_strategy,
                             priority, crash_count, progress, final, queue, task, payload, unique_key, traceparent, tags,
                             progress_message, error_type, error, traceback)
    SELECT d.id, clock_timestamp() - make_interval(secs => coalesce(d.ended, 0)),
           clock_timestamp() - make_interval(secs => d.started), d.scheduled_at, f.created_at, f.timeout, f.retry_delay,
           f.max_retry_delay, CASE WHEN d.started IS NOT NULL THEN d.attempt END, d.retries_before + d.charge, d.attempt,
           f.max_retries, %(worker_id)s::int4, %(executor)s::int4,
           CASE WHEN d.cancelled AND d.charge = 0 THEN 'cancelled' ELSE d.outcome END,
           CASE WHEN NOT d.ends THEN NULL
                WHEN d.cancelled OR d.outcome = 'cancelled' THEN 'cancelled'::pgtask.job_status
                ELSE 'failed' END,
           f.retry_strategy, d.priority, f.crash_count, f.progress, d.ends, d.queue, d.task, f.payload, f.unique_key,
           f.traceparent, f.tags, f.progress_message, d.error_type, d.error, d.traceback
      FROM decided d
      LEFT JOIN finished f ON f.id = d.id
     WHERE d.started IS NOT NULL OR d.ends
    RETURNING 1
), notified AS (
    SELECT pgtask.notify_rewind(d.queue, d.priority, min(d.due))
      FROM decided d
     WHERE NOT d.ends AND d.charge = 0 AND d.delay IS NULL
     GROUP BY d.queue, d.priority
)
SELECT d.id, d.ends, (SELECT count(*) FROM returned) + (SELECT count(*) FROM recorded) + (SELECT count(*) FROM notified) AS work
  FROM decided d;
