-- Takes up to %(limit)s due suspects: jobs that ran beside others when their process died, and now get one to themselves.
-- Locks: see pgtask.claim_limited. Index: jobs_suspect, which is empty on ordinary days.
SELECT c.id, c.attempt, c.task, c.queue, c.priority, c.payload,
       coalesce(c.timeout, (SELECT t.timeout FROM pgtask.tasks t WHERE t.name = c.task),
                (SELECT q.timeout FROM pgtask.queues q WHERE q.name = c.queue)) AS timeout,
       c.retry_count, c.scheduled_at, c.tick_at
  FROM pgtask.claim_limited(
           ARRAY(SELECT j.id
                   FROM pgtask.jobs j
                  WHERE j.suspect
                    AND j.scheduled_at <= now()
                    AND j.status = 'pending'
                    AND j.task = ANY (%(tasks)s::text[])
                    AND (%(queues)s::text[] IS NULL OR j.queue = ANY (%(queues)s::text[]))
                    -- What is held for long is passed over here: it would keep the others from being looked at.
                    AND (j.start_by IS NULL OR j.start_by > now())
                    AND NOT EXISTS (SELECT
                                      FROM pgtask.queues q
                                      LEFT JOIN pgtask.limits l ON l.scope = 'queue' AND l.name = q.name AND l.key = ''
                                     WHERE q.name = j.queue
                                       AND (q.paused_at IS NOT NULL OR q.max_workers <= coalesce(l.used, 0)))
                    AND NOT EXISTS (SELECT
                                      FROM pgtask.limits l
                                      LEFT JOIN pgtask.queues q ON q.name = l.name
                                     WHERE l.scope = 'key' AND l.name = j.queue AND l.key = j.concurrency_key
                                       AND l.used >= coalesce(q.max_workers_per_key, 1))
                    AND NOT EXISTS (SELECT
                                      FROM pgtask.circuits c
                                     WHERE c.task = j.task
                                       AND (c.state = 'half_open'
                                            OR c.state = 'open' AND coalesce(c.hold_until > now(), true)))
                  ORDER BY j.scheduled_at
                  LIMIT 100),
           %(worker_id)s::int4, %(executor)s::int4, %(limit)s::int4, true) c;
