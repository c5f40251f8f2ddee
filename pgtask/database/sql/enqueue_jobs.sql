-- Inserts a job for each element of one JSON array of payloads, in its order, all with the same options.
INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, max_retries, retry_strategy, retry_delay,
                         max_retry_delay, timeout, tags, traceparent)
SELECT %(task)s::text, item.payload, %(queue)s::text, %(priority)s::int2,
       coalesce(%(scheduled_at)s::timestamptz, now() + make_interval(secs => %(delay)s::float8), now()),
       %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy, %(retry_delay)s::float8,
       %(max_retry_delay)s::float8, %(timeout)s::float8, %(tags)s::text[], %(traceparent)s::text
  FROM jsonb_array_elements(%(payloads)s::jsonb) WITH ORDINALITY AS item (payload, position)
 ORDER BY item.position
RETURNING id;
