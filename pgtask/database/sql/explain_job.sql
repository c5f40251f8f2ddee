-- What a live job waits for, or who runs it: facts for one sentence. Takes no locks.
-- Index: jobs_pkey; jobs_lane for the jobs ahead of it, of which at most %(cap)s + 1 are counted.
-- A task counts as known when it was seen after the start of some live worker: workers register their tasks once, at start.
SELECT extract(epoch FROM j.scheduled_at - now())::float8 AS due_in,
       j.suspect,
       q.paused_by AS queue_paused_by,
       extract(epoch FROM now() - q.paused_at)::float8 AS queue_paused_for,
       fleet.live AS live_workers,
       fleet.serving AS queue_workers,
       EXISTS (SELECT
                 FROM pgtask.tasks t
                WHERE t.name = j.task
                  AND t.last_seen_at >= fleet.first_started_at) AS task_known,
       owner.name AS worker_name,
       extract(epoch FROM now() - owner.heartbeat_at)::float8 AS worker_silent_for,
       coalesce(owner.dead_at IS NOT NULL OR owner.expires_at <= now(), true) AS worker_lost,
       (SELECT count(*)
          FROM ((SELECT
                   FROM pgtask.jobs a
                  WHERE a.queue = j.queue
                    AND a.priority > j.priority
                    AND a.scheduled_at <= now()
                    AND a.status = 'pending'
                  LIMIT %(cap)s::int4 + 1)
                 UNION ALL
                (SELECT
                   FROM pgtask.jobs a
                  WHERE a.queue = j.queue
                    AND a.priority = j.priority
                    AND (a.scheduled_at, a.id + 0) < (j.scheduled_at, j.id + 0)
                    AND a.status = 'pending'
                  LIMIT %(cap)s::int4 + 1)) ahead) AS jobs_ahead
  FROM pgtask.jobs j
  LEFT JOIN pgtask.queues q ON q.name = j.queue
  LEFT JOIN pgtask.workers owner ON owner.id = j.worker_id AND j.status = 'running'
 CROSS JOIN LATERAL (
    SELECT count(*) AS live,
           count(*) FILTER (WHERE w.queues IS NULL OR j.queue = ANY (w.queues)) AS serving,
           min(w.started_at) AS first_started_at
      FROM pgtask.workers w
     WHERE w.dead_at IS NULL
       AND w.slots > 0
       AND w.stopping_at IS NULL
       AND w.expires_at > now()
 ) fleet
 WHERE j.id = %(id)s::int8;
