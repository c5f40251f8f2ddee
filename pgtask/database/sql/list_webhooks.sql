-- Webhooks by name, or the one of a name, each with the time of its next event; without secrets. Locks nothing.
-- Index: runs_xid, once per webhook.
SELECT w.id,
       w.name,
       w.url,
       w.statuses,
       w.tasks,
       w.queues,
       w.paused_at,
       w.paused_reason,
       w."position",
       w.created_at,
       w.failures,
       w.first_failed_at,
       w.next_attempt_at,
       w.delivered_at,
       w.last_status,
       w.last_error,
       next.at AS next_event_at
  FROM pgtask.webhooks w
  LEFT JOIN LATERAL pgtask.feed(w."position", 1) next ON true
 WHERE %(name)s::text IS NULL OR w.name = %(name)s::text
 ORDER BY w.name;
