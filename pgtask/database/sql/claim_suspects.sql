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
                  ORDER BY j.scheduled_at
                  LIMIT 100),
           %(worker_id)s::int4, %(executor)s::int4, %(limit)s::int4, true) c;
