-- The lanes (queue and priority) that hold jobs, best first, and when the next job in each becomes due, if any is waiting for
-- its time. A loose scan: one probe of jobs_lane per lane and one for its next due time. Takes no locks.
SELECT lane.queue, lane.priority, coalesce(q.priority, 0)::int2 AS queue_priority, q.timeout,
       extract(epoch FROM (
           SELECT j.scheduled_at
             FROM pgtask.jobs j
            WHERE j.queue = lane.queue AND j.priority = lane.priority AND j.scheduled_at > now()
            ORDER BY j.scheduled_at
            LIMIT 1
       ) - now())::float8 AS due_in,
       now() AS instant
  FROM pgtask.lanes lane
  LEFT JOIN pgtask.queues q ON q.name = lane.queue
 WHERE q.paused_at IS NULL
   AND (%(queues)s::text[] IS NULL OR lane.queue = ANY (%(queues)s::text[]));
