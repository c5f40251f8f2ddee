-- What holds the feed back, how long consumers and webhooks have not taken the next event, and webhooks that were paused by
-- themselves. Locks nothing; reads shared memory. Index: runs_xid, once per consumer and webhook.
(SELECT 'transaction' AS kind, a.application_name AS name, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age
   FROM pg_catalog.pg_stat_activity a
  WHERE a.backend_xid IS NOT NULL
    AND a.pid <> pg_backend_pid()
  ORDER BY a.xact_start
  LIMIT 1)
 UNION ALL
SELECT 'prepared', p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::float8
  FROM pg_catalog.pg_prepared_xacts p
 UNION ALL
SELECT CASE WHEN next.event = 'reset' THEN 'interrupted' ELSE 'consumer' END,
       c.name,
       extract(epoch FROM clock_timestamp() - next.at)::float8
  FROM pgtask.feed_consumers c
 CROSS JOIN LATERAL pgtask.feed(c."position", 1) next
 UNION ALL
SELECT CASE WHEN w.paused_at IS NULL THEN 'webhook' ELSE 'paused' END,
       w.name,
       extract(epoch FROM clock_timestamp() - coalesce(w.paused_at, next.at))::float8
  FROM pgtask.webhooks w
  LEFT JOIN LATERAL pgtask.feed(w."position", 1) next ON true
 WHERE w.paused_at IS NULL OR w.paused_reason IS NOT NULL
 LIMIT 1000;
