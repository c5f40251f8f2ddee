-- Jobs that failed for good or were quarantined, in these queues (NULL: all), latest first, as events. Takes no locks.
-- Index: runs_unsuccessful of each partition backwards, merged; the time bound keeps out all but the latest partitions.
SELECT r.finished_at AS at,
       r.job_id AS id,
       r.task,
       r.queue,
       r.attempt,
       r.status::text AS status,
       r.outcome::text AS outcome,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
       r.worker_id,
       r.error_type,
       left(r.error, 4000) AS error
  FROM pgtask.runs r
 WHERE r.final
   AND r.status <> 'completed'
   AND r.status IN ('failed', 'quarantined')
   AND r.finished_at >= now() - make_interval(secs => %(window)s::float8)
   AND (%(queues)s::text[] IS NULL OR r.queue = ANY (%(queues)s::text[]))
 ORDER BY r.finished_at DESC, r.job_id DESC
 LIMIT %(limit)s::int4;
