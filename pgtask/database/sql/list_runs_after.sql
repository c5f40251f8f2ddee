-- Runs of a job that come after one that ended at an instant as a numbered attempt (0: none), oldest first; NULL starts with the
-- first. Takes no locks. Index: runs_job_id.
SELECT r.attempt, r.outcome::text AS outcome, r.final, r.started_at, r.finished_at, r.worker_id, r.executor, r.error_type,
       r.error, r.traceback, r.cpu_seconds, r.peak_rss_bytes
  FROM pgtask.runs r
 WHERE r.job_id = %(id)s::int8
   AND (%(after_time)s::timestamptz IS NULL
        OR (r.finished_at, coalesce(r.attempt, 0)) > (%(after_time)s::timestamptz, %(after_attempt)s::int4))
 ORDER BY r.finished_at, coalesce(r.attempt, 0)
 LIMIT %(limit)s::int4;
