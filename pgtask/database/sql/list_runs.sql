-- The latest runs of a job, oldest first. Takes no locks. Index: runs_job_id.
SELECT attempt, outcome, final, started_at, finished_at, worker_id, executor, error_type, error, traceback, cpu_seconds,
       peak_rss_bytes
  FROM (SELECT r.attempt, r.outcome::text AS outcome, r.final, r.started_at, r.finished_at, r.worker_id, r.executor,
               r.error_type, r.error, r.traceback, r.cpu_seconds, r.peak_rss_bytes
          FROM pgtask.runs r
         WHERE r.job_id = %(id)s::int8
         ORDER BY r.finished_at DESC, r.attempt DESC NULLS FIRST
         LIMIT %(limit)s::int4) latest
 ORDER BY finished_at, attempt NULLS LAST;
