-- Running jobs that match, latest started first, as events; a filter that is NULL matches all. Takes no locks.
-- Index: jobs_lane. Running jobs stand among the first of their lane, so only the first `depth` due jobs of each are looked at,
-- `most` in all: with many jobs before them that nobody can run, running ones may be missed.
WITH looked_at AS (
    SELECT due.id, due.task, due.queue, due.attempt, due.status, due.started_at, due.worker_id, due.tags
      FROM pgtask.lanes lane
     CROSS JOIN LATERAL (
        SELECT j.id, j.task, j.queue, j.attempt, j.status, j.started_at, j.worker_id, j.tags
          FROM pgtask.jobs j
         WHERE j.queue = lane.queue
           AND j.priority = lane.priority
           AND j.scheduled_at <= now()
         ORDER BY j.scheduled_at, j.id + 0
         LIMIT %(depth)s::int4
     ) due
     WHERE (%(queue)s::text IS NULL OR lane.queue = %(queue)s::text)
     LIMIT %(most)s::int4
)
SELECT coalesce(l.started_at, now()) AS at,
       l.id,
       l.task,
       l.queue,
       l.attempt,
       'running' AS status,
       NULL::text AS outcome,
       extract(epoch FROM now() - l.started_at)::float8 AS seconds,
       l.worker_id,
       NULL::text AS error_type,
       NULL::text AS error
  FROM looked_at l
 WHERE l.status = 'running'
   AND (%(task)s::text IS NULL OR l.task LIKE %(task)s::text)
   AND (%(tag)s::text IS NULL OR l.tags @> ARRAY[%(tag)s::text])
 ORDER BY l.started_at DESC NULLS LAST, l.id DESC
 LIMIT %(limit)s::int4;
