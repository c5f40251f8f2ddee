-- Ends attempts that did not complete: retries the job with its backoff, gives it back, or finishes it for good.
-- Policy: the job's own, else its task's (as an advised delay is), else its queue's, else the built-in one. A started attempt
-- leaves a run; one that never started (started IS NULL) leaves none unless it is the job's end. A cancel request ends the job
-- whatever the outcome.
-- A crashed job is quarantined at its last crash (setting max_crashes), until then a suspect; a suspect whose attempt did end is
-- one no longer. Of a job that fails for good or is quarantined a copy goes to the dead_letter_queue of its queue, unless it is
-- one itself. Retries of a queue with a retry budget keep to its pace, see pgtask.pace_retries. Fenced by
-- (id, attempt, worker); the rows are locked first, so that a cancel request under way is seen or waits.
-- The ids must ascend and nothing is joined by id, see complete_jobs.sql: besides, each such join of two lists compares each
-- with each on a connection that has no hash joins. Index: jobs_pkey, twice per id.
WITH locked AS MATERIALIZED (
    SELECT j.*, width_bucket(j.id, %(ids)s::int8[]) AS place, j.cancel_requested_at IS NOT NULL AS cancelled
      FROM pgtask.jobs j
     WHERE j.id = ANY (%(ids)s::int8[])
       AND j.attempt = (%(attempts)s::int4[])[width_bucket(j.id, %(ids)s::int8[])]
       AND j.worker_id = %(worker_id)s::int4
       AND j.status = 'running'
       FOR UPDATE
), given AS MATERIALIZED (
    SELECT l.*, (%(started)s::float8[])[place] AS began, (%(ended)s::float8[])[place] AS ended,
           (%(outcomes)s::text[])[place]::pgtask.run_outcome AS outcome,
           ((%(outcomes)s::text[])[place] IN ('failed', 'timeout', 'crashed'))::int4 AS charge,
           (%(finals)s::bool[])[place] AS last,
           CASE WHEN num_nonnulls(l.retry_strategy, l.retry_delay, l.max_retry_delay) = 0
                  OR (%(advised)s::bool[])[place] IS NOT TRUE
                THEN (%(delays)s::float8[])[place] END AS delay,
           coalesce(l.max_retries, t.max_retries, q.max_retries, 3) AS retries_allowed,
           coalesce(l.retry_strategy, t.retry_strategy, q.retry_strategy, 'exponential') AS strategy,
           coalesce(l.retry_delay, t.retry_delay, q.retry_delay, 15) AS base,
           coalesce(l.max_retry_delay, t.max_retry_delay, q.max_retry_delay, 3600) AS longest,
           l.dead_letter IS NULL AND q.dead_letter_queue IS NOT NULL AS copied,
           q.retry_budget
      FROM locked l
      LEFT JOIN pgtask.tasks t ON t.name = l.task
      LEFT JOIN pgtask.queues q ON q.name = l.queue
), judged AS MATERIALIZED (
    SELECT g.*,
           CASE WHEN g.outcome = 'crashed' AND NOT g.cancelled
                THEN g.crash_count + 1 >= (SELECT (s.value #>> '{}')::int4 FROM pgtask.settings s WHERE s.name = 'max_crashes')
                ELSE false
           END AS quarantined
      FROM given g
), decided AS MATERIALIZED (
    SELECT g.*,
           g.last OR g.cancelled OR (g.charge = 1 AND g.retries_allowed >= 0 AND g.retry_count >= g.retries_allowed)
           OR g.quarantined AS ends,
           g.retry_count + g.charge AS retries,
           g.crash_count + (g.outcome = 'crashed')::int4 AS crashes,
           CASE WHEN g.delay IS NOT NULL THEN now() + make_interval(secs => g.delay)
                WHEN g.charge = 0 THEN g.scheduled_at
                ELSE now() + make_interval(secs => least(g.longest, g.base * CASE g.strategy
                        WHEN 'fixed' THEN 1
                        WHEN 'linear' THEN g.retry_count + 1
                        ELSE power(2, least(g.retry_count, 60))
                    END) * (0.9 + random() * 0.2))
           END AS due
      FROM judged g
), paced AS MATERIALIZED (
    SELECT b.queue, pace.wait, pace.span
      FROM (SELECT d.queue, d.retry_budget, count(*)::int4 AS retries
              FROM decided d
             WHERE d.retry_budget IS NOT NULL AND d.charge = 1 AND NOT d.ends
             GROUP BY d.queue, d.retry_budget
             ORDER BY d.queue) b
     CROSS JOIN LATERAL pgtask.pace_retries(b.queue, b.retry_budget, b.retries) pace
), going_on AS MATERIALIZED (
    SELECT array_agg(id ORDER BY id) AS ids,
           array_agg(due + coalesce(make_interval(secs => p.wait + p.span * random()), '0') ORDER BY id) AS dues,
           array_agg(retries ORDER BY id) AS retries, array_agg(crashes ORDER BY id) AS crashes,
           array_agg(outcome = 'crashed' OR suspect AND outcome = 'released' ORDER BY id) AS suspects
      FROM decided d
      LEFT JOIN paced p ON p.queue = d.queue AND d.charge = 1
     WHERE NOT ends
), returned AS (
    UPDATE pgtask.jobs j
       SET status = 'pending', worker_id = NULL, executor = NULL, started_at = NULL,
           scheduled_at = (SELECT dues[width_bucket(j.id, ids)] FROM going_on),
           retry_count = (SELECT retries[width_bucket(j.id, ids)] FROM going_on),
           crash_count = (SELECT crashes[width_bucket(j.id, ids)] FROM going_on),
           suspect = (SELECT suspects[width_bucket(j.id, ids)] FROM going_on)
     WHERE j.id = ANY ((SELECT ids FROM going_on)::int8[])
    RETURNING j.id
), finished AS (
    DELETE FROM pgtask.jobs j
     WHERE j.id = ANY (ARRAY(SELECT id FROM decided WHERE ends))
    RETURNING j.id
), recorded AS (
    INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, attempt, retry_count, claims, worker_id, executor,
                             outcome, priority, final, queue, task, error_type, error, traceback, cpu_seconds,
                             peak_rss_bytes, status, created_at, timeout,
                             retry_delay, max_retry_delay, max_retries, retry_strategy, crash_count, progress, payload,
                             unique_key, traceparent, tags, progress_message, schedule_id, tick_at, start_by, concurrency_key,
                             scoped_key, unique_scope, unique_until, dead_letter, copy_id)
    SELECT d.id, clock_timestamp() - make_interval(secs => coalesce(d.ended, 0)),
           clock_timestamp() - make_interval(secs => d.began), d.scheduled_at, CASE WHEN d.began IS NOT NULL THEN d.attempt END,
           d.retries, d.attempt, %(worker_id)s::int4, %(executor)s::int4,
           CASE WHEN d.cancelled AND d.charge = 0 THEN 'cancelled' ELSE d.outcome END, d.priority, d.ends, d.queue, d.task,
           (%(error_types)s::text[])[d.place], (%(errors)s::text[])[d.place], (%(tracebacks)s::text[])[d.place],
           (%(cpu_seconds)s::float8[])[d.place]::real, (%(peak_rss_bytes)s::int8[])[d.place],
           of_the_job.*
      FROM decided d
      LEFT JOIN LATERAL (
        SELECT CASE WHEN d.cancelled OR d.outcome = 'cancelled' THEN 'cancelled'
                    WHEN d.quarantined THEN 'quarantined'
                    ELSE 'failed' END::pgtask.job_status,
               d.created_at, d.timeout, d.retry_delay, d.max_retry_delay, d.max_retries, d.retry_strategy, d.crashes,
               d.progress, d.payload, d.unique_key, d.traceparent, d.tags, d.progress_message,
               d.schedule_id, d.tick_at, d.start_by, d.concurrency_key, d.scoped_key, d.unique_scope, d.unique_until,
               d.dead_letter,
               CASE WHEN d.copied AND NOT d.cancelled AND d.outcome <> 'cancelled' THEN nextval('pgtask.jobs_id_seq') END
      ) of_the_job ON d.ends
     WHERE d.began IS NOT NULL OR d.ends
    RETURNING CASE WHEN runs.copy_id IS NOT NULL THEN runs END AS run
), copied AS (
    SELECT pgtask.copy_dead_letter(r.run)
      FROM recorded r
     WHERE (r.run).copy_id IS NOT NULL
), notified AS (
    SELECT pgtask.notify_rewind(d.queue, d.priority, min(d.due))
      FROM decided d
     WHERE NOT d.ends AND d.charge = 0 AND d.delay IS NULL
     GROUP BY d.queue, d.priority
)
SELECT d.id, d.ends, d.task, (SELECT count(*) FROM returned) + (SELECT count(*) FROM finished) + (SELECT count(*) FROM recorded)
       + (SELECT count(*) FROM copied) + (SELECT count(*) FROM notified) AS work
  FROM decided d;
