-- Log lines of a job beyond the last one seen of each attempt, for attempts from `oldest` on. Takes no locks.
-- Index: job_logs_pkey.
SELECT l.attempt, l.line, l.logged_at, l.level, l.message
  FROM pgtask.job_logs l
 WHERE l.job_id = %(id)s::int8
   AND l.attempt >= %(oldest)s::int4
   AND l.line > coalesce((SELECT seen.line
                            FROM unnest(%(attempts)s::int4[], %(lines)s::int4[]) AS seen (attempt, line)
                           WHERE seen.attempt = l.attempt), -1)
 ORDER BY l.attempt, l.line
 LIMIT %(limit)s::int4;
