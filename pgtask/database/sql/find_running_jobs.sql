-- The ids of running jobs that match, newest first; a filter that is NULL matches all. Takes no locks.
-- Index: none can exist, since a claim changes status; the CTE is materialised so that the table is read in parallel
-- and in its own order (0.1 s for a million live jobs) instead of backwards by id.
WITH running AS MATERIALIZED (
    SELECT j.id
      FROM pgtask.jobs j
     WHERE j.status = 'running'
       AND (%(before)s::int8 IS NULL OR j.id < %(before)s::int8)
       AND (%(worker_id)s::int4 IS NULL OR j.worker_id = %(worker_id)s::int4)
       AND (%(queue)s::text IS NULL OR j.queue = %(queue)s::text)
       AND (%(task)s::text IS NULL OR j.task LIKE %(task)s::text)
       AND (%(tag)s::text IS NULL OR j.tags @> ARRAY[%(tag)s::text])
)
SELECT id
  FROM running
 ORDER BY id DESC
 LIMIT %(limit)s::int4;
