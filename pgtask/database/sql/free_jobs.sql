-- Frees the jobs of a worker, or of one of its executors, that can no longer run them: back to pending with their scheduled_at,
-- uncharged, or cancelled where that was asked for. A run is written for each that had started; started_ids NULL means that this
-- cannot be known and all are taken to have. Those of suspect_ids next run alone. held (id, attempt pairs) are spared: somebody still runs them.
-- No index finds running rows (one would cost every claim its HOT update), so this reads the whole table: only after a death.
WITH owned AS MATERIALIZED (
    SELECT j.ctid AS tid, j.id, j.attempt, j.queue, j.priority, j.task, j.scheduled_at, j.started_at, j.worker_id, j.executor,
           j.retry_count, j.cancel_requested_at IS NOT NULL AS cancelled,
           %(started_ids)s::int8[] IS NULL OR j.id = ANY (%(started_ids)s::int8[]) AS started
      FROM pgtask.jobs j
     WHERE j.status = 'running'
       AND j.worker_id = ANY (%(worker_ids)s::int4[])
       AND (%(executor)s::int4 IS NULL OR j.executor = %(executor)s::int4)
       AND NOT EXISTS (SELECT FROM unnest(%(held_ids)s::int8[], %(held_attempts)s::int4[]) AS held (id, attempt)
                        WHERE held.id = j.id AND held.attempt = j.attempt)
       FOR UPDATE OF j SKIP LOCKED
), returned AS (
    UPDATE pgtask.jobs j
       SET status = 'pending', worker_id = NULL, executor = NULL, started_at = NULL,
           suspect = j.suspect OR j.id = ANY (%(suspect_ids)s::int8[])
      FROM owned o
     WHERE j.id = o.id AND NOT o.cancelled
    RETURNING j.id
), finished AS (
    DELETE FROM pgtask.jobs j
     USING owned o
     WHERE j.id = o.id AND o.cancelled
    RETURNING j.*
), recorded AS (
    INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, created_at, timeout, retry_delay, max_retry_delay,
                             attempt, retry_count, claims, max_retries, worker_id, executor, outcome, status, retry_strategy,
                             priority, crash_count, progress, final, queue, task, payload, unique_key, traceparent, tags,
                             progress_message, error_type, error, schedule_id, tick_at, start_by, concurrency_key, scoped_key,
                             unique_scope, unique_until, dead_letter)
    SELECT o.id, clock_timestamp(), CASE WHEN o.started THEN o.started_at END, o.scheduled_at, f.created_at, f.timeout,
           f.retry_delay, f.max_retry_delay, CASE WHEN o.started THEN o.attempt END, o.retry_count, o.attempt, f.max_retries,
           o.worker_id, o.executor,
           CASE WHEN o.started THEN %(outcome)s::pgtask.run_outcome ELSE 'cancelled' END,
           CASE WHEN o.cancelled THEN 'cancelled'::pgtask.job_status END,
           f.retry_strategy, o.priority, f.crash_count, f.progress, o.cancelled, o.queue, o.task, f.payload, f.unique_key,
           f.traceparent, f.tags, f.progress_message, %(error_type)s::text, %(error)s::text, f.schedule_id, f.tick_at,
           f.start_by, f.concurrency_key, f.scoped_key, f.unique_scope, f.unique_until, f.dead_letter
      FROM owned o
      LEFT JOIN finished f ON f.id = o.id
     WHERE o.started OR o.cancelled
    RETURNING 1
), notified AS (
    SELECT pgtask.notify_rewind(o.queue, o.priority, min(o.scheduled_at))
      FROM owned o
     WHERE NOT o.cancelled
     GROUP BY o.queue, o.priority
)
SELECT o.id, o.attempt, (SELECT count(*) FROM returned) + (SELECT count(*) FROM recorded) + (SELECT count(*) FROM notified) AS work
  FROM owned o;
