-- Attempts that ended in each of `buckets` spans of `width` seconds, oldest first, with those that did not complete: of the last
-- ones, or of those from the full minute `began_at` on; in these queues and of this task (NULL: all). Takes no locks.
-- Index: stats_minute_pkey; runs_finished_at for what has not been rolled up, from the last minute that was.
WITH span AS MATERIALIZED (
    SELECT began.at,
           began.at + make_interval(secs => %(width)s::float8 * %(buckets)s::int4) AS until,
           greatest(coalesce((SELECT max(s.minute) FROM pgtask.stats_minute s), began.at), began.at) AS edge
      FROM (SELECT coalesce(%(began_at)s::timestamptz,
                            date_trunc('minute', now())
                            - make_interval(secs => %(width)s::float8 * (%(buckets)s::int4 - 1))) AS at) began
), ended AS (
    SELECT s.minute AS at,
           s.completed,
           s.failed + s.retried AS unsuccessful
      FROM pgtask.stats_minute s
     WHERE s.minute >= (SELECT span.at FROM span)
       AND s.minute < (SELECT least(span.edge, span.until) FROM span)
       AND (%(queues)s::text[] IS NULL OR s.queue = ANY (%(queues)s::text[]))
       AND (%(task)s::text IS NULL OR s.task = %(task)s::text)
     UNION ALL
    SELECT date_trunc('minute', r.finished_at),
           count(*) FILTER (WHERE r.outcome = 'completed'),
           count(*) FILTER (WHERE r.outcome <> 'completed')
      FROM pgtask.runs r
     WHERE r.finished_at >= (SELECT span.edge FROM span)
       AND r.finished_at < (SELECT span.until FROM span)
       AND r.outcome IN ('completed', 'failed', 'timeout', 'crashed')
       AND (%(queues)s::text[] IS NULL OR r.queue = ANY (%(queues)s::text[]))
       AND (%(task)s::text IS NULL OR r.task = %(task)s::text)
     GROUP BY 1
), slices AS (
    SELECT floor(extract(epoch FROM ended.at - span.at) / %(width)s::float8)::int4 AS number,
           sum(ended.completed)::int8 AS completed,
           sum(ended.unsuccessful)::int8 AS unsuccessful
      FROM ended
     CROSS JOIN span
     GROUP BY 1
)
SELECT span.at + make_interval(secs => %(width)s::float8 * bucket.number) AS began_at,
       coalesce(slices.completed, 0) AS completed,
       coalesce(slices.unsuccessful, 0) AS unsuccessful
  FROM span
 CROSS JOIN generate_series(0, %(buckets)s::int4 - 1) AS bucket (number)
  LEFT JOIN slices ON slices.number = bucket.number
 ORDER BY bucket.number;
