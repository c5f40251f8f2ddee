-- All queues, stored or only named by jobs, tasks or workers, with what waits and runs in them. Takes no locks.
-- Index: jobs_lane, once per lane; at most %(cap)s due and as many later jobs of a lane are looked at, so it stays quick with
-- any backlog. Beyond that `counts_exact` is false, and `estimated` is what the planner's statistics say of the whole queue.
WITH counted AS (
    SELECT lane.queue,
           sum(due.pending)::int8 AS pending,
           sum(later.scheduled)::int8 AS scheduled,
           sum(due.retrying + later.retrying)::int8 AS retrying,
           sum(due.running + later.running)::int8 AS running,
           min(due.oldest_at) AS oldest_due_at,
           bool_and(due.looked_at <= %(cap)s::int4 AND later.looked_at <= %(cap)s::int4) AS exact
      FROM pgtask.lanes lane
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE j.status = 'pending' AND j.retry_count = 0) AS pending,
               count(*) FILTER (WHERE j.status = 'pending' AND j.retry_count > 0) AS retrying,
               count(*) FILTER (WHERE j.status = 'running') AS running,
               min(j.scheduled_at) FILTER (WHERE j.status = 'pending') AS oldest_at,
               count(*) AS looked_at
          FROM (SELECT a.status, a.retry_count, a.scheduled_at
                  FROM pgtask.jobs a
                 WHERE a.queue = lane.queue
                   AND a.priority = lane.priority
                   AND a.scheduled_at <= now()
                 ORDER BY a.scheduled_at, a.id + 0
                 LIMIT %(cap)s::int4 + 1) j
     ) due
     CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE j.status = 'pending' AND j.retry_count = 0) AS scheduled,
               count(*) FILTER (WHERE j.status = 'pending' AND j.retry_count > 0) AS retrying,
               count(*) FILTER (WHERE j.status = 'running') AS running,
               count(*) AS looked_at
          FROM (SELECT a.status, a.retry_count
                  FROM pgtask.jobs a
                 WHERE a.queue = lane.queue
                   AND a.priority = lane.priority
                   AND a.scheduled_at > now()
                 ORDER BY a.scheduled_at, a.id + 0
                 LIMIT %(cap)s::int4 + 1) j
     ) later
     WHERE (%(name)s::text IS NULL OR lane.queue = %(name)s::text)
     GROUP BY lane.queue
), names AS (
    SELECT q.name FROM pgtask.queues q
     UNION
    SELECT counted.queue FROM counted
     UNION
    SELECT t.queue FROM pgtask.tasks t
     UNION
    SELECT unnest(w.queues) FROM pgtask.workers w WHERE w.dead_at IS NULL
     UNION
    SELECT 'default'
), estimates AS (
    SELECT common.queue,
           (common.share * c.reltuples
            * pg_relation_size(c.oid) / (greatest(c.relpages, 1) * current_setting('block_size')::int8))::int8 AS jobs
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_stats s ON s.schemaname = 'pgtask' AND s.tablename = 'jobs' AND s.attname = 'queue'
     CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS common (queue, share)
     WHERE c.oid = 'pgtask.jobs'::regclass
       AND c.reltuples > 0
)
SELECT names.name,
       coalesce(q.priority, 0) AS priority,
       coalesce(q.weight, 1) AS weight,
       q.paused_at,
       q.paused_by,
       q.max_retries,
       q.retry_strategy::text AS retry_strategy,
       q.retry_delay,
       q.max_retry_delay,
       q.timeout,
       q.max_workers,
       coalesce(q.max_workers_per_key, 1) AS max_workers_per_key,
       q.rate_limit,
       q.rate_period,
       q.rate_burst,
       q.max_size,
       q.retry_budget,
       q.dead_letter_queue,
       q.created_at,
       coalesce(counted.pending, 0) AS pending,
       coalesce(counted.scheduled, 0) AS scheduled,
       coalesce(counted.retrying, 0) AS retrying,
       coalesce(counted.running, 0) AS running,
       coalesce(counted.exact, true) AS counts_exact,
       estimates.jobs AS estimated,
       counted.oldest_due_at,
       (SELECT count(*)
          FROM pgtask.workers w
         WHERE w.dead_at IS NULL
           AND w.expires_at > now()
           AND (w.queues IS NULL OR names.name = ANY (w.queues))) AS workers
  FROM names
  LEFT JOIN pgtask.queues q ON q.name = names.name
  LEFT JOIN counted ON counted.queue = names.name
  LEFT JOIN estimates ON estimates.queue = names.name AND NOT counted.exact
 WHERE (%(name)s::text IS NULL OR names.name = %(name)s::text)
 ORDER BY coalesce(q.priority, 0) DESC, names.name;
