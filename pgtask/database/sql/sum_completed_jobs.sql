-- How many jobs of a stretch of ids completed, in how many attempts, and when the first one started. Index: runs_job_id.
SELECT count(*) FILTER (WHERE r.status = 'completed')::int8 AS completed,
       count(*)::int8 AS runs,
       min(r.started_at) AS started_at
  FROM pgtask.runs r
 WHERE r.job_id BETWEEN %(first)s::int8 AND %(last)s::int8;
