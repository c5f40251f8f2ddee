-- A worker as its token finds it: what it takes, and whether it still may. Locks nothing. Index: workers_pkey.
SELECT w.id, w.token, w.queues, w.tasks, w.slots, w.lease, w.heartbeat_at, w.dead_at IS NOT NULL AS dead,
       w.expires_at <= now() AS expired, w.stopping_at IS NOT NULL AS stopping
  FROM pgtask.workers w
 WHERE w.id = %(worker_id)s::int4;
