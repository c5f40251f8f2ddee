-- Inserts one job; none comes back when a live job holds its unique_key. Takes no lock but that of the unique key.
-- To name the conflict would ask for the right to read keys, which producers have not.
INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy, retry_delay,
                         max_retry_delay, timeout, tags, traceparent)
VALUES (%(task)s::text, %(payload)s::jsonb, %(queue)s::text, %(priority)s::int2,
        coalesce(%(scheduled_at)s::timestamptz, now() + make_interval(secs => %(delay)s::float8), now()),
        %(unique_key)s::text, %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy, %(retry_delay)s::float8,
        %(max_retry_delay)s::float8, %(timeout)s::float8, %(tags)s::text[], %(traceparent)s::text)
ON CONFLICT DO NOTHING
RETURNING id;
