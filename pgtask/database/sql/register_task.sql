-- Makes a task known with its defaults; the last to register wins. Callers register in the order of names, so that
-- two executors cannot lock rows crosswise.
INSERT INTO pgtask.tasks (name, queue, priority, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout,
                          payload_schema, code_version)
VALUES (%(name)s::text, %(queue)s::text, %(priority)s::int2, %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy,
        %(retry_delay)s::float8, %(max_retry_delay)s::float8, %(timeout)s::float8, %(payload_schema)s::jsonb,
        %(code_version)s::text)
ON CONFLICT (name) DO UPDATE
   SET queue = excluded.queue, priority = excluded.priority, max_retries = excluded.max_retries,
       retry_strategy = excluded.retry_strategy, retry_delay = excluded.retry_delay, max_retry_delay = excluded.max_retry_delay,
       timeout = excluded.timeout, payload_schema = excluded.payload_schema, code_version = excluded.code_version,
       last_seen_at = now();
