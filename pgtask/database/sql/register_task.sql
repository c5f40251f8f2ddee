-- Makes a task known with its defaults; the last to register wins, but a rate set by hand stays. Callers register in the order of
-- names, so that two executors cannot lock rows crosswise.
INSERT INTO pgtask.tasks AS t (name, queue, priority, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout,
                               payload_schema, code_version, rate_limit, rate_period, rate_burst, declared_rate_limit,
                               declared_rate_period, declared_rate_burst, breaker_failures, breaker_rate, breaker_window,
                               breaker_minimum, breaker_hold, breaker_max_hold)
VALUES (%(name)s::text, %(queue)s::text, %(priority)s::int2, %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy,
        %(retry_delay)s::float8, %(max_retry_delay)s::float8, %(timeout)s::float8, %(payload_schema)s::jsonb,
        %(code_version)s::text, %(rate_limit)s::int4, %(rate_period)s::float8, %(rate_burst)s::int4, %(rate_limit)s::int4,
        %(rate_period)s::float8, %(rate_burst)s::int4, %(breaker_failures)s::int4, %(breaker_rate)s::float8,
        %(breaker_window)s::float8, %(breaker_minimum)s::int4, %(breaker_hold)s::float8, %(breaker_max_hold)s::float8)
ON CONFLICT (name) DO UPDATE
   SET queue = excluded.queue, priority = excluded.priority, max_retries = excluded.max_retries,
       retry_strategy = excluded.retry_strategy, retry_delay = excluded.retry_delay, max_retry_delay = excluded.max_retry_delay,
       timeout = excluded.timeout, payload_schema = excluded.payload_schema, code_version = excluded.code_version,
       rate_limit = CASE WHEN t.rate_set_by IS NULL THEN excluded.rate_limit ELSE t.rate_limit END,
       rate_period = CASE WHEN t.rate_set_by IS NULL THEN excluded.rate_period ELSE t.rate_period END,
       rate_burst = CASE WHEN t.rate_set_by IS NULL THEN excluded.rate_burst ELSE t.rate_burst END,
       declared_rate_limit = excluded.declared_rate_limit, declared_rate_period = excluded.declared_rate_period,
       declared_rate_burst = excluded.declared_rate_burst,
       breaker_failures = excluded.breaker_failures, breaker_rate = excluded.breaker_rate,
       breaker_window = excluded.breaker_window, breaker_minimum = excluded.breaker_minimum,
       breaker_hold = excluded.breaker_hold, breaker_max_hold = excluded.breaker_max_hold,
       last_seen_at = now();
