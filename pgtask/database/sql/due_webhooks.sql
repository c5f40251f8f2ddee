-- Webhooks that have something to be sent and may be tried now, the one that waits longest first. Locks nothing.
-- Index: runs_xid, once per webhook.
SELECT w.id, w.name, w.url, w.secret, w.statuses, w.tasks, w.queues, w."position", w.failures
  FROM pgtask.webhooks w
 WHERE w.paused_at IS NULL
   AND w.next_attempt_at <= now()
   AND NOT (w.id = ANY (%(busy)s::int4[]))
   AND EXISTS (SELECT FROM pgtask.feed(w."position", 1))
 ORDER BY w.next_attempt_at
 LIMIT %(limit)s::int4;
