-- The lanes (queue and priority) that hold jobs, best first, when the next job in each becomes due, if any is waiting for its
-- time, and how many steps of the setting ageing_step its oldest job that is claimable here lifts it: 3 at most, none without the setting.
-- Whether its queue has limits, whether it has jobs with a concurrency key, and which tasks have a rate or a circuit that is not
-- closed. A loose scan: one probe of jobs_lane per lane, one for its next due time and, where its queue has another lane, one for its
-- oldest job, for which no more than 100 due ones are looked at. Takes no locks.
WITH gated AS MATERIALIZED (
    SELECT array_agg(t.name) AS names
      FROM (SELECT r.name FROM pgtask.tasks r WHERE r.rate_limit IS NOT NULL
             UNION
            SELECT c.task FROM pgtask.circuits c WHERE c.state <> 'closed') t
)
SELECT s.*, g.names AS gated FROM gated g LEFT JOIN (
SELECT lane.queue, lane.priority, coalesce(q.priority, 0)::int2 AS queue_priority, q.timeout,
       extract(epoch FROM (
           SELECT j.scheduled_at
             FROM pgtask.jobs j
            WHERE j.queue = lane.queue AND j.priority = lane.priority AND j.scheduled_at > now()
            ORDER BY j.scheduled_at
            LIMIT 1
       ) - now())::float8 AS due_in,
       now() AS instant,
       coalesce(q.weight, 1) AS weight,
       CASE WHEN oldest.waited > 0 THEN least(3, floor(oldest.waited / ageing.step)) ELSE 0 END::int4 AS lift,
       coalesce(oldest.waited, 0) AS waited,
       coalesce(q.limited, false) AS limited,
       CASE WHEN (SELECT k.queue FROM pgtask.jobs k WHERE k.concurrency_key IS NOT NULL ORDER BY k.queue LIMIT 1) IS NOT NULL
            THEN (SELECT k.queue
                    FROM pgtask.jobs k
                   WHERE k.queue = lane.queue AND k.priority = lane.priority AND k.concurrency_key IS NOT NULL
                   ORDER BY k.concurrency_key
                   LIMIT 1) IS NOT NULL
            ELSE false END AS keyed
  FROM (SELECT l.queue, l.priority, count(*) OVER (PARTITION BY l.queue) > 1 AS contested FROM pgtask.lanes l) lane
  LEFT JOIN pgtask.queues q ON q.name = lane.queue
  LEFT JOIN (SELECT CASE WHEN jsonb_typeof(s.value) = 'number' THEN nullif((s.value #>> '{}')::float8, 0) END AS step
               FROM pgtask.settings s
              WHERE s.name = 'ageing_step') ageing
         ON true
  LEFT JOIN LATERAL (
        SELECT extract(epoch FROM now() - due.scheduled_at)::float8 AS waited
          FROM (SELECT j.scheduled_at, j.status, j.suspect, j.task
                  FROM pgtask.jobs j
                 WHERE j.queue = lane.queue AND j.priority = lane.priority AND j.scheduled_at <= now()
                 ORDER BY j.scheduled_at
                 LIMIT 100) due
         WHERE due.status = 'pending'
           AND NOT due.suspect
           AND due.task = ANY (%(tasks)s::text[])
           AND lane.contested
           AND ageing.step > 0
         ORDER BY due.scheduled_at
         LIMIT 1
       ) oldest ON true
 WHERE q.paused_at IS NULL
   AND (%(queues)s::text[] IS NULL OR lane.queue = ANY (%(queues)s::text[]))
) s ON true;
