-- What workers have registered, by name. Takes no locks. A task is live when it was seen after the start of some live worker.
SELECT t.name,
       t.queue,
       t.priority,
       t.max_retries,
       t.retry_strategy::text AS retry_strategy,
       t.retry_delay,
       t.max_retry_delay,
       t.timeout,
       t.payload_schema,
       t.code_version,
       t.last_seen_at,
       EXISTS (SELECT
                 FROM pgtask.workers w
                WHERE w.dead_at IS NULL
                  AND w.slots > 0
                  AND w.expires_at > now()
                  AND w.started_at <= t.last_seen_at) AS live
  FROM pgtask.tasks t
 ORDER BY t.name;
