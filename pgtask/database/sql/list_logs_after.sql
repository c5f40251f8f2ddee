-- Log lines of a job after a line of an attempt, oldest first. Takes no locks. Index: job_logs_pkey.
SELECT l.attempt, l.line, l.logged_at, l.level, l.message
  FROM pgtask.job_logs l
 WHERE l.job_id = %(id)s::int8
   AND (l.attempt, l.line) > (%(attempt)s::int4, %(line)s::int4)
 ORDER BY l.attempt, l.line
 LIMIT %(limit)s::int4;
