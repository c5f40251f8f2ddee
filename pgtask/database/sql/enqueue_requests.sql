-- Enqueues a job for each object of a JSON array, in its order, with the defaults that its task has registered; none when not all
-- fit in their queues, and then what comes back says which is full. Objects have keys named as columns, and `delay`.
-- Locks: the new rows. Index: tasks_pkey, queues_pkey.
WITH wanted AS MATERIALIZED (
    SELECT i.task, i.payload, coalesce(i.queue, t.queue, 'default') AS queue, coalesce(i.priority, t.priority, 1) AS priority,
           coalesce(i.scheduled_at, now() + make_interval(secs => i.delay), now()) AS scheduled_at, i.max_retries,
           i.retry_strategy, i.retry_delay, i.max_retry_delay, i.timeout, i.tags, i.traceparent, i.concurrency_key, i.position
      FROM ROWS FROM (jsonb_to_recordset(%(jobs)s::jsonb) AS (
               task text, payload jsonb, queue text, priority int2, delay float8, scheduled_at timestamptz, max_retries int4,
               retry_strategy pgtask.retry_strategy, retry_delay float8, max_retry_delay float8, timeout float8, tags text[],
               traceparent text, concurrency_key text
           )) WITH ORDINALITY AS i (task, payload, queue, priority, delay, scheduled_at, max_retries, retry_strategy, retry_delay,
                                    max_retry_delay, timeout, tags, traceparent, concurrency_key, position)
      LEFT JOIN pgtask.tasks t ON t.name = i.task
), exceeded AS MATERIALIZED (
    SELECT c.queue, c.count, pgtask.size_exceeded(c.queue, c.count) AS max_size
      FROM (SELECT w.queue, count(*)::int4 AS count FROM wanted w GROUP BY w.queue) c
      JOIN pgtask.sized_queues s ON s.name = c.queue
), made AS (
    INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, max_retries, retry_strategy, retry_delay,
                             max_retry_delay, timeout, tags, traceparent, concurrency_key)
    SELECT w.task, w.payload, w.queue, w.priority, w.scheduled_at, w.max_retries, w.retry_strategy,
           extract(epoch FROM make_interval(secs => w.retry_delay)), extract(epoch FROM make_interval(secs => w.max_retry_delay)),
           extract(epoch FROM make_interval(secs => w.timeout)), w.tags, w.traceparent, w.concurrency_key
      FROM wanted w
     WHERE NOT EXISTS (SELECT FROM exceeded e WHERE e.max_size IS NOT NULL)
     ORDER BY w.position
    RETURNING id, queue
)
SELECT made.id, made.queue, NULL::int4 AS count, NULL::int4 AS max_size FROM made
 UNION ALL
SELECT NULL, e.queue, e.count, e.max_size FROM exceeded e WHERE e.max_size IS NOT NULL;
