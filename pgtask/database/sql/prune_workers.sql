-- Deletes a batch of workers that ended long ago, but for those that a running job still names: they are to be rescued from first.
-- Locks: the rows deleted. Jobs are read as a whole, as no index may mention their worker, and only when there is a candidate.
WITH ended AS MATERIALIZED (
    SELECT w.id
      FROM pgtask.workers w
     WHERE w.dead_at < %(before)s::timestamptz
     ORDER BY w.id
     LIMIT %(limit)s::int4
),
owners AS MATERIALIZED (
    SELECT j.worker_id AS id
      FROM pgtask.jobs j
     WHERE j.status = 'running'
       AND j.worker_id IN (SELECT id FROM ended)
)
DELETE FROM pgtask.workers w
 WHERE w.id IN (SELECT id FROM ended)
   AND NOT EXISTS (SELECT FROM owners WHERE owners.id = w.id);
