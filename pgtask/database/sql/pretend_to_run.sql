-- Marks jobs as running: each of these workers gets so many, in the order of ids from the first on; for measurements.
WITH share AS (
    SELECT w.id AS worker_id, w.number
      FROM unnest(%(worker_ids)s::int4[]) WITH ORDINALITY AS w (id, number)
)
UPDATE pgtask.jobs j
   SET status = 'running', worker_id = share.worker_id, executor = 1, attempt = 1, started_at = now()
  FROM share
 WHERE j.id >= %(first)s::int8 + (share.number - 1) * %(each)s::int4
   AND j.id < %(first)s::int8 + share.number * %(each)s::int4
RETURNING j.worker_id, j.id, j.attempt;
