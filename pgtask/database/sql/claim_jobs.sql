-- Takes up to %(limit)s due jobs from the lanes given, best lane first, each from its watermark on.
-- Locks: the rows taken, in lane order, skipping what others hold. Index: jobs_lane, once per lane.
-- The row list is materialised: as a joined sub-select the planner may run it again and claim more than the limit.
-- id + 0 is the column of jobs_lane. Nothing is taken without this worker's own live lease, nor from a queue that is paused or has
-- limits, nor with a concurrency key: see claim_lanes.sql and claim_keyed.sql.
WITH due AS MATERIALIZED (
    SELECT job.tid
      FROM unnest(%(queues)s::text[], %(priorities)s::int2[], %(after_times)s::timestamptz[], %(after_ids)s::int8[])
           AS lane (queue, priority, after_time, after_id)
     CROSS JOIN LATERAL (
        SELECT j.ctid AS tid
          FROM pgtask.jobs j
         WHERE j.queue = lane.queue
           AND j.priority = lane.priority
           AND j.scheduled_at <= now()
           AND (j.scheduled_at, j.id + 0) > (lane.after_time, lane.after_id)
           AND j.status = 'pending'
           AND NOT j.suspect
           AND j.concurrency_key IS NULL
           AND (j.start_by IS NULL OR j.start_by > now())
           AND j.task = ANY (%(tasks)s::text[])
         ORDER BY j.scheduled_at, j.id + 0
         LIMIT %(limit)s::int4
           FOR UPDATE SKIP LOCKED
     ) job
     WHERE EXISTS (SELECT FROM pgtask.workers w
                    WHERE w.id = %(worker_id)s::int4 AND w.dead_at IS NULL AND w.expires_at > now())
       AND NOT EXISTS (SELECT FROM pgtask.queues q WHERE q.name = lane.queue AND (q.paused_at IS NOT NULL OR q.limited))
     LIMIT %(limit)s::int4
)
UPDATE pgtask.jobs j
   SET status = 'running',
       attempt = j.attempt + 1,
       worker_id = %(worker_id)s::int4,
       executor = %(executor)s::int4,
       started_at = now()
 WHERE j.ctid = ANY (ARRAY(SELECT tid FROM due))
RETURNING j.id, j.attempt, j.task, j.queue, j.priority, j.payload::text, j.timeout, j.retry_count, j.scheduled_at,
          j.tick_at;
