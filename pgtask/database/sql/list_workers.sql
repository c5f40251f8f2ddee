-- Workers, the live ones first, and of the ended ones those that ended within `ended_within` seconds (NULL: all that are
-- kept). A worker that shut down gave up its lease itself; a dead one was buried after its lease had run out.
-- Takes no locks. Reads the whole table, which is small: rows of ended workers are pruned.
SELECT w.id,
       w.name,
       w.host,
       w.pid,
       w.version,
       CASE WHEN w.dead_at > w.expires_at THEN 'dead'
            WHEN w.dead_at IS NOT NULL THEN 'stopped'
            WHEN w.expires_at <= now() THEN 'lost'
            WHEN w.stopping_at IS NOT NULL THEN 'stopping'
            ELSE 'running' END AS state,
       w.queues,
       w.executors,
       w.slots,
       w.running,
       w.lease,
       w.started_at,
       w.heartbeat_at,
       w.expires_at,
       w.stopping_at,
       w.dead_at,
       w.cpu_percent,
       w.rss_bytes,
       w.completed,
       w.unsuccessful,
       EXISTS (SELECT FROM pgtask.leader l WHERE l.name = 'upkeep' AND l.holder = w.id AND l.expires_at > now()) AS leader
  FROM pgtask.workers w
 WHERE (%(id)s::int4 IS NULL OR w.id = %(id)s::int4)
   AND (w.dead_at IS NULL
        OR %(ended_within)s::float8 IS NULL
        OR w.dead_at > now() - make_interval(secs => %(ended_within)s::float8))
 ORDER BY w.dead_at IS NOT NULL, w.id DESC;
