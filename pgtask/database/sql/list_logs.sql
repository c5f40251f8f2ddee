-- The latest log lines of a job, oldest first. Takes no locks. Index: job_logs_pkey backwards.
SELECT attempt, line, logged_at, level, message
  FROM (SELECT l.attempt, l.line, l.logged_at, l.level, l.message
          FROM pgtask.job_logs l
         WHERE l.job_id = %(id)s::int8
         ORDER BY l.attempt DESC, l.line DESC
         LIMIT %(limit)s::int4) latest
 ORDER BY attempt, line;
