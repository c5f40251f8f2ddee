-- Notes what was claimed for a worker over HTTP, in the transaction of the claim, and reads what it is to know of these jobs;
-- nothing if the worker died since. From here on nobody declares it dead before the claim is committed: a server may be stopped
-- in between for longer than rescue looks for the jobs of the dead. Locks: its row, KEY SHARE.
-- Policy: the job's own, else its task's, else its queue's, else the built-in one.
-- Index: workers_pkey, jobs_pkey, tasks_pkey, queues_pkey.
WITH alive AS MATERIALIZED (
    SELECT w.id
      FROM pgtask.workers w
     WHERE w.id = %(worker_id)s::int4 AND w.dead_at IS NULL
       FOR KEY SHARE
), noted AS (
    INSERT INTO pgtask.holdings (worker_id, named, ids, attempts)
    SELECT alive.id, false, %(ids)s::int8[], %(attempts)s::int4[]
      FROM alive
)
SELECT j.id, coalesce(j.timeout, t.timeout, q.timeout) AS timeout, coalesce(j.max_retries, t.max_retries, q.max_retries, 3) AS max_retries,
       j.started_at, j.traceparent, j.tags, j.cancel_requested_at IS NOT NULL AS cancel
  FROM alive
 CROSS JOIN pgtask.jobs j
  LEFT JOIN pgtask.tasks t ON t.name = j.task
  LEFT JOIN pgtask.queues q ON q.name = j.queue
 WHERE j.id = ANY (%(ids)s::int8[]);
