-- Enqueues any number of small jobs in one go, evenly over so many queues (one: the default queue) and so many concurrency keys
-- (0: without); for measurements.
WITH filled AS (
    INSERT INTO pgtask.jobs (task, queue, concurrency_key, payload)
    SELECT %(task)s::text,
           CASE WHEN %(queues)s::int4 = 1 THEN 'default' ELSE 'queue-' || mod(n, %(queues)s::int4) END,
           CASE WHEN %(keys)s::int4 > 0 THEN 'key-' || mod(n, %(keys)s::int4) END,
           jsonb_build_object('n', n)
      FROM generate_series(1, %(count)s::int4) AS n
    RETURNING id
)
SELECT min(filled.id) AS first, max(filled.id) AS last FROM filled;
