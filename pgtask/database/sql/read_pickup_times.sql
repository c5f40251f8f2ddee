-- Seconds from enqueue to start of these jobs' first attempts, in the order of their ids. Index: runs_job_id.
SELECT extract(epoch FROM r.started_at - r.created_at)::float8 AS seconds
  FROM pgtask.runs r
 WHERE r.job_id = ANY (%(ids)s::int8[])
   AND r.final
   AND r.attempt = 1
 ORDER BY r.job_id;
