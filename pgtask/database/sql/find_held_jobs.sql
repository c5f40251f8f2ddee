-- Which of these attempts the worker holds: their tasks, whether those have a breaker, their age in seconds, progress, whether they
-- are to be cancelled, their last log line, and whether they hold a place of a limit. The ids must ascend and are not joined, see complete_jobs.sql.
-- Index: jobs_pkey, tasks_pkey, job_logs_pkey, limit_holds_pkey.
SELECT j.id, j.attempt, j.task,
       EXISTS (SELECT FROM pgtask.tasks t
                WHERE t.name = j.task AND (t.breaker_failures IS NOT NULL OR t.breaker_rate IS NOT NULL)) AS guarded,
       extract(epoch FROM clock_timestamp() - j.started_at)::float8 AS age,
       j.progress, j.progress_message, j.cancel_requested_at IS NOT NULL AS cancel,
       coalesce((SELECT l.line FROM pgtask.job_logs l
                  WHERE l.job_id = j.id AND l.attempt = j.attempt
                  ORDER BY l.line DESC
                  LIMIT 1), 0) AS last_line,
       EXISTS (SELECT FROM pgtask.limit_holds h WHERE h.job_id = j.id AND h.attempt = j.attempt) AS limited
  FROM pgtask.jobs j
 WHERE j.id = ANY (%(ids)s::int8[])
   AND j.attempt = (%(attempts)s::int4[])[width_bucket(j.id, %(ids)s::int8[])]
   AND j.worker_id = %(worker_id)s::int4
   AND j.status = 'running';
