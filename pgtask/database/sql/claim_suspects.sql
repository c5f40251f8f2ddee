-- Takes up to %(limit)s due suspects: jobs that ran beside others when their process died, and now get one to themselves.
-- Locks: the rows taken, oldest first, skipping what others hold. Index: jobs_suspect, which is empty on ordinary days.
-- Nothing is taken without this worker's own live lease, nor from a paused queue.
WITH due AS MATERIALIZED (
    SELECT j.ctid AS tid
      FROM pgtask.jobs j
     WHERE j.suspect
       AND j.scheduled_at <= now()
       AND j.status = 'pending'
       AND j.task = ANY (%(tasks)s::text[])
       AND (%(queues)s::text[] IS NULL OR j.queue = ANY (%(queues)s::text[]))
       AND EXISTS (SELECT FROM pgtask.workers w
                    WHERE w.id = %(worker_id)s::int4 AND w.dead_at IS NULL AND w.expires_at > now())
       AND NOT EXISTS (SELECT FROM pgtask.queues q WHERE q.name = j.queue AND q.paused_at IS NOT NULL)
     ORDER BY j.scheduled_at
     LIMIT %(limit)s::int4
       FOR UPDATE SKIP LOCKED
)
UPDATE pgtask.jobs j
   SET status = 'running',
       attempt = j.attempt + 1,
       worker_id = %(worker_id)s::int4,
       executor = %(executor)s::int4,
       started_at = now()
 WHERE j.ctid = ANY (ARRAY(SELECT tid FROM due))
RETURNING j.id, j.attempt, j.task, j.queue, j.priority, j.payload::text,
          coalesce(j.timeout, (SELECT t.timeout FROM pgtask.tasks t WHERE t.name = j.task),
                   (SELECT q.timeout FROM pgtask.queues q WHERE q.name = j.queue)) AS timeout,
          j.retry_count, j.scheduled_at, j.tick_at;
