-- Inserts one job; none comes back when a live job holds its unique_key, or its queue is full. Takes no lock but that of the
-- unique key. Index: queues_pkey.
-- To name the conflict would ask for the right to read keys, which producers have not.
INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy, retry_delay,
                         max_retry_delay, timeout, tags, traceparent, concurrency_key, start_by)
SELECT %(task)s::text, %(payload)s::jsonb, %(queue)s::text, %(priority)s::int2,
       coalesce(%(scheduled_at)s::timestamptz, now() + make_interval(secs => %(delay)s::float8), now()),
       %(unique_key)s::text, %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy, %(retry_delay)s::float8,
       %(max_retry_delay)s::float8, %(timeout)s::float8, %(tags)s::text[], %(traceparent)s::text, %(concurrency_key)s::text,
       coalesce(%(start_by)s::timestamptz, now() + make_interval(secs => %(expires)s::float8))
 WHERE (SELECT pgtask.size_exceeded(s.name, 1) FROM pgtask.sized_queues s WHERE s.name = %(queue)s::text) IS NULL
ON CONFLICT DO NOTHING
RETURNING id;
