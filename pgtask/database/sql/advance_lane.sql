-- Looks at a bounded stretch of one lane, claims what is claimable in it, and tells how far it looked: rows held back by an
-- unknown task or running elsewhere are passed once here instead of at every claim. The last row of the answer has no task
-- and carries that position (id, scheduled_at) and the number of rows looked at (attempt) and claimable (retry_count).
-- Locks: the rows claimed, in page order, skipping what others hold. Index: jobs_lane.
WITH examined AS MATERIALIZED (
    SELECT j.ctid AS tid, j.scheduled_at, j.id,
           j.status = 'pending' AND NOT j.suspect AND j.task = ANY (%(tasks)s::text[]) AND j.concurrency_key IS NULL
           AND (j.start_by IS NULL OR j.start_by > now()) AS claimable
      FROM pgtask.jobs j
     WHERE j.queue = %(queue)s::text
       AND j.priority = %(priority)s::int2
       AND j.scheduled_at <= now()
       AND (j.scheduled_at, j.id + 0) > (%(after_time)s::timestamptz, %(after_id)s::int8)
       AND EXISTS (SELECT FROM pgtask.workers w
                    WHERE w.id = %(worker_id)s::int4 AND w.dead_at IS NULL AND w.expires_at > now())
       AND NOT EXISTS (SELECT FROM pgtask.queues q WHERE q.name = %(queue)s::text AND (q.paused_at IS NOT NULL OR q.limited))
     ORDER BY j.scheduled_at, j.id + 0
     LIMIT %(examine)s::int4
), due AS MATERIALIZED (
    SELECT j.ctid AS tid
      FROM pgtask.jobs j
     WHERE j.ctid = ANY (ARRAY(SELECT tid FROM examined WHERE claimable LIMIT %(limit)s::int4))
       AND j.status = 'pending'
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE pgtask.jobs j
       SET status = 'running',
           attempt = j.attempt + 1,
           worker_id = %(worker_id)s::int4,
           executor = %(executor)s::int4,
           started_at = now()
     WHERE j.ctid = ANY (ARRAY(SELECT tid FROM due))
    RETURNING j.id, j.attempt, j.task, j.queue, j.priority, j.payload::text AS payload, j.timeout, j.retry_count, j.scheduled_at,
              j.tick_at
)
SELECT id, attempt, task, queue, priority, payload, timeout, retry_count, scheduled_at, tick_at FROM claimed
UNION ALL
SELECT (array_agg(id))[count(*)], count(*)::int4, NULL, NULL, NULL, NULL, NULL, (count(*) FILTER (WHERE claimable))::int4,
       max(scheduled_at), NULL
  FROM examined;
