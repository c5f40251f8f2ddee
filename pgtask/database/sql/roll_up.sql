-- Recomputes the latest minutes of the statistics from the runs: from the last minute that was rolled up, or the one before
-- this, whichever is earlier, but no further back than an hour. Repeating it changes nothing, and older minutes stay.
-- No figure ever falls, as counters are made of them: runs that were deleted meanwhile stay counted, and one that ended its job
-- (only then it has the job's created_at) remains a failure for good when the job is retried by hand.
-- Locks: the rows of those minutes, in the order of the primary key. Index: runs_finished_at, stats_minute_pkey.
INSERT INTO pgtask.stats_minute AS s (minute, queue, task, completed, failed, retried, cancelled, lost, run_seconds, wait_seconds,
                                 max_run_seconds, max_wait_seconds, run_buckets, wait_buckets)
SELECT part.minute,
       part.queue,
       part.task,
       sum(part.completed),
       sum(part.failed),
       sum(part.retried),
       sum(part.cancelled),
       sum(part.lost),
       sum(part.run_seconds),
       sum(part.wait_seconds),
       max(part.max_run_seconds),
       max(part.max_wait_seconds),
       pgtask.sum_buckets(pgtask.in_bucket(part.run_bucket, part.attempts)),
       pgtask.sum_buckets(pgtask.in_bucket(part.wait_bucket, part.attempts))
  FROM (SELECT date_trunc('minute', r.finished_at) AS minute,
               r.queue,
               r.task,
               width_bucket(ran.seconds, pgtask.duration_bounds()) AS run_bucket,
               width_bucket(waited.seconds, pgtask.duration_bounds()) AS wait_bucket,
               count(*) AS attempts,
               count(*) FILTER (WHERE r.outcome = 'completed') AS completed,
               count(*) FILTER (WHERE r.outcome IN ('failed', 'timeout', 'crashed')
                                 AND (r.final OR r.created_at IS NOT NULL)) AS failed,
               count(*) FILTER (WHERE r.outcome IN ('failed', 'timeout', 'crashed')
                                 AND NOT r.final AND r.created_at IS NULL) AS retried,
               count(*) FILTER (WHERE r.outcome = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE r.outcome = 'lost') AS lost,
               coalesce(sum(ran.seconds), 0) AS run_seconds,
               coalesce(sum(waited.seconds), 0) AS wait_seconds,
               coalesce(max(ran.seconds), 0) AS max_run_seconds,
               coalesce(max(waited.seconds), 0) AS max_wait_seconds
          FROM pgtask.runs r
         CROSS JOIN LATERAL (
            SELECT CASE WHEN r.outcome IN ('completed', 'failed', 'timeout', 'crashed')
                        THEN greatest(extract(epoch FROM r.finished_at - r.started_at)::float8, 0) END AS seconds
         ) ran
         CROSS JOIN LATERAL (
            SELECT CASE WHEN r.outcome IN ('completed', 'failed', 'timeout', 'crashed')
                        THEN greatest(extract(epoch FROM r.started_at - r.scheduled_at)::float8, 0) END AS seconds
         ) waited
         WHERE r.finished_at >= date_trunc('minute', greatest(
                   least(coalesce((SELECT max(s.minute) FROM pgtask.stats_minute s), '-infinity'),
                         now() - interval '1 minute'),
                   now() - interval '1 hour'))
           AND r.outcome NOT IN ('released', 'snoozed')
         GROUP BY 1, 2, 3, 4, 5) part
 GROUP BY part.minute, part.queue, part.task
 ORDER BY part.minute, part.queue, part.task
    ON CONFLICT (minute, queue, task) DO UPDATE
   SET completed = greatest(s.completed, excluded.completed),
       failed = greatest(s.failed, excluded.failed),
       retried = greatest(s.retried, excluded.retried),
       cancelled = greatest(s.cancelled, excluded.cancelled),
       lost = greatest(s.lost, excluded.lost),
       run_seconds = greatest(s.run_seconds, excluded.run_seconds),
       wait_seconds = greatest(s.wait_seconds, excluded.wait_seconds),
       max_run_seconds = greatest(s.max_run_seconds, excluded.max_run_seconds),
       max_wait_seconds = greatest(s.max_wait_seconds, excluded.max_wait_seconds),
       run_buckets = CASE WHEN excluded.run_buckets IS NULL THEN s.run_buckets
                          ELSE ARRAY(SELECT greatest(b.known, b.now)
                                       FROM unnest(s.run_buckets, excluded.run_buckets) WITH ORDINALITY AS b (known, now, place)
                                      ORDER BY b.place) END,
       wait_buckets = CASE WHEN excluded.wait_buckets IS NULL THEN s.wait_buckets
                          ELSE ARRAY(SELECT greatest(b.known, b.now)
                                       FROM unnest(s.wait_buckets, excluded.wait_buckets) WITH ORDINALITY AS b (known, now, place)
                                      ORDER BY b.place) END;
