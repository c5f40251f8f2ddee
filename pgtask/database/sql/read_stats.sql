-- What came of the runs by queue and task: of the last `window` seconds from the full minute on, or from the full minute
-- `began_at` to just before `ended_at`; in these queues and of this task (NULL: all). Takes no locks.
-- Index: stats_minute_pkey; runs_finished_at for what has not been rolled up, from the last minute that was.
WITH span AS MATERIALIZED (
    SELECT began.at,
           greatest(coalesce((SELECT max(s.minute) FROM pgtask.stats_minute s), began.at), began.at) AS edge
      FROM (SELECT coalesce(%(began_at)s::timestamptz,
                            date_trunc('minute', now() - make_interval(secs => %(window)s::float8))) AS at) began
)
SELECT part.queue,
       part.task,
       sum(part.completed)::int8 AS completed,
       sum(part.failed)::int8 AS failed,
       sum(part.retried)::int8 AS retried,
       sum(part.cancelled)::int8 AS cancelled,
       sum(part.lost)::int8 AS lost,
       sum(part.run_seconds) AS run_seconds,
       sum(part.wait_seconds) AS wait_seconds,
       max(part.max_run_seconds) AS max_run_seconds,
       max(part.max_wait_seconds) AS max_wait_seconds
  FROM (SELECT s.queue, s.task, s.completed, s.failed, s.retried, s.cancelled, s.lost, s.run_seconds, s.wait_seconds,
               s.max_run_seconds, s.max_wait_seconds
          FROM pgtask.stats_minute s
         WHERE s.minute >= (SELECT span.at FROM span)
           AND s.minute < (SELECT span.edge FROM span)
           AND (%(ended_at)s::timestamptz IS NULL OR s.minute < %(ended_at)s::timestamptz)
           AND (%(queues)s::text[] IS NULL OR s.queue = ANY (%(queues)s::text[]))
           AND (%(task)s::text IS NULL OR s.task = %(task)s::text)
         UNION ALL
        SELECT r.queue,
               r.task,
               count(*) FILTER (WHERE r.outcome = 'completed'),
               count(*) FILTER (WHERE r.outcome IN ('failed', 'timeout', 'crashed') AND (r.final OR r.created_at IS NOT NULL)),
               count(*) FILTER (WHERE r.outcome IN ('failed', 'timeout', 'crashed') AND NOT r.final AND r.created_at IS NULL),
               count(*) FILTER (WHERE r.outcome = 'cancelled'),
               count(*) FILTER (WHERE r.outcome = 'lost'),
               coalesce(sum(ran.seconds), 0),
               coalesce(sum(waited.seconds), 0),
               coalesce(max(ran.seconds), 0),
               coalesce(max(waited.seconds), 0)
          FROM pgtask.runs r
         CROSS JOIN LATERAL (
            SELECT CASE WHEN r.outcome IN ('completed', 'failed', 'timeout', 'crashed')
                        THEN greatest(extract(epoch FROM r.finished_at - r.started_at)::float8, 0) END AS seconds
         ) ran
         CROSS JOIN LATERAL (
            SELECT CASE WHEN r.outcome IN ('completed', 'failed', 'timeout', 'crashed')
                        THEN greatest(extract(epoch FROM r.started_at - r.scheduled_at)::float8, 0) END AS seconds
         ) waited
         WHERE r.finished_at >= (SELECT span.edge FROM span)
           AND (%(ended_at)s::timestamptz IS NULL OR r.finished_at < %(ended_at)s::timestamptz)
           AND r.outcome NOT IN ('released', 'snoozed')
           AND (%(queues)s::text[] IS NULL OR r.queue = ANY (%(queues)s::text[]))
           AND (%(task)s::text IS NULL OR r.task = %(task)s::text)
         GROUP BY r.queue, r.task) part
 GROUP BY part.queue, part.task;
