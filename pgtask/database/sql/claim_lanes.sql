-- Looks at up to %(examine)s due rows of each of these lanes, and claims up to %(limit)s jobs that limits let through: in lanes
-- whose queue has limits, and, where `only` is set, those of the tasks %(gated)s that have some, in lanes of other queues. Jobs of
-- a task or a queue that may start none now are passed over, not fetched. For each lane a row without a task says how far it looked (its
-- number among the lanes in executor's place, id, scheduled_at), how many rows it saw (attempt), how many of them were claimable
-- (retry_count) and how many were held back by limits (priority, 1 for any).
-- Locks: see pgtask.claim_limited. Index: jobs_lane, once per lane.
WITH shut AS MATERIALIZED (
    SELECT t.name
      FROM pgtask.tasks t
      LEFT JOIN pgtask.limits l ON l.scope = 'task' AND l.name = t.name AND l.key = ''
      LEFT JOIN pgtask.circuits c ON c.task = t.name
     WHERE t.name = ANY (%(gated)s::text[])
       AND least(pgtask.rate_room(t.rate_limit, t.rate_period, t.rate_burst, l.free_at),
                 CASE c.state WHEN 'open' THEN coalesce(c.hold_until <= now(), false)::int4 WHEN 'half_open' THEN 0 END) = 0
), examined AS MATERIALIZED (
    SELECT lane.place, j.id, j.scheduled_at, j.nth, j.mine,
           j.mine AND NOT j.task = ANY (ARRAY(SELECT s.name FROM shut s)) AS claimable
      FROM unnest(%(queues)s::text[], %(priorities)s::int2[], %(after_times)s::timestamptz[], %(after_ids)s::int8[],
                  %(only)s::bool[]) WITH ORDINALITY AS lane (queue, priority, after_time, after_id, gated_only, place)
     CROSS JOIN LATERAL (
        SELECT j.id, j.scheduled_at, j.task, row_number() OVER (ORDER BY j.scheduled_at, j.id + 0) AS nth,
               j.status = 'pending' AND NOT j.suspect AND j.concurrency_key IS NULL
               AND (j.start_by IS NULL OR j.start_by > now())
               AND CASE WHEN lane.gated_only THEN j.task = ANY (%(gated)s::text[]) ELSE j.task = ANY (%(tasks)s::text[]) END AS mine
          FROM pgtask.jobs j
         WHERE j.queue = lane.queue
           AND j.priority = lane.priority
           AND j.scheduled_at <= now()
           AND (j.scheduled_at, j.id + 0) > (lane.after_time, lane.after_id)
         ORDER BY j.scheduled_at, j.id + 0
         LIMIT %(examine)s::int4
     ) j
), claimed AS MATERIALIZED (
    SELECT c.*
      FROM pgtask.claim_limited(
               (SELECT array_agg(e.id ORDER BY e.place, e.nth)
                  FROM (SELECT x.id, x.place, x.nth
                          FROM examined x
                         WHERE x.claimable
                         ORDER BY x.place, x.nth
                         LIMIT %(limit)s::int4 * 2) e),
               %(worker_id)s::int4, %(executor)s::int4, %(limit)s::int4, false) c
)
SELECT id, attempt, task, queue, priority, payload, timeout, retry_count, scheduled_at, tick_at, NULL::int4 AS place FROM claimed
UNION ALL
SELECT (array_agg(e.id ORDER BY e.nth DESC))[1], count(*)::int4, NULL, NULL, bool_or(e.mine AND NOT e.claimable)::int4::int2, NULL,
       NULL, (count(*) FILTER (WHERE e.claimable))::int4, max(e.scheduled_at), NULL, e.place::int4
  FROM examined e
 GROUP BY e.place;
