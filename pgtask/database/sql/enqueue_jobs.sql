-- Inserts a job for each element of one JSON array of payloads, in its order, all with the same options; none
-- when not all of them fit in the queue.
INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, max_retries, retry_strategy, retry_delay,
                         max_retry_delay, timeout, tags, traceparent, concurrency_key, start_by)
SELECT %(task)s::text, item.payload, %(queue)s::text, %(priority)s::int2,
       coalesce(%(scheduled_at)s::timestamptz, now() + make_interval(secs => %(delay)s::float8), now()),
       %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy, %(retry_delay)s::float8,
       %(max_retry_delay)s::float8, %(timeout)s::float8, %(tags)s::text[], %(traceparent)s::text,
       %(concurrency_key)s::text, coalesce(%(start_by)s::timestamptz, now() + make_interval(secs => %(expires)s::float8))
  FROM jsonb_array_elements(%(payloads)s::jsonb) WITH ORDINALITY AS item (payload, position)
 WHERE (SELECT pgtask.size_exceeded(s.name, %(count)s::int4) FROM pgtask.sized_queues s WHERE s.name = %(queue)s::text) IS NULL
 ORDER BY item.position
RETURNING id;
