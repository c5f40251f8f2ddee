-- What workers have registered, by name, with the circuit of each and how many of its attempts failed of late, where that is
-- counted. Takes no locks. A task is live when it was seen after the start of some live worker.
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
                  AND w.started_at <= t.last_seen_at) AS live,
       t.rate_limit,
       t.rate_period AS rate_period_seconds,
       t.rate_burst,
       t.rate_set_by,
       t.breaker_failures,
       t.breaker_rate,
       t.breaker_window AS breaker_window_seconds,
       t.breaker_minimum,
       t.breaker_hold AS breaker_hold_seconds,
       t.breaker_max_hold AS breaker_max_hold_seconds,
       coalesce(c.state, 'closed')::text AS circuit,
       c.changed_at AS circuit_changed_at,
       c.changed_by AS circuit_changed_by,
       c.reason AS circuit_reason,
       c.hold_until AS next_probe_at,
       c.probe_job_id,
       y.failures / nullif(y.attempts, 0)::float8 AS error_rate
  FROM pgtask.tasks t
  LEFT JOIN pgtask.circuits c ON c.task = t.name
 CROSS JOIN LATERAL (
    SELECT sum(r.failures) AS failures, sum(r.failures + r.successes) AS attempts
      FROM pgtask.circuit_tallies r
     WHERE r.task = t.name AND r.since > now() - make_interval(secs => t.breaker_window)
 ) y
 ORDER BY t.name;
