-- Enqueues a job with the defaults that its task has registered, and writes its line of the audit, unless enqueues have none. Nothing
-- comes back when a live job holds its unique_key, or its queue is full. Durations go by microseconds, as in pgtask.enqueue().
-- Locks: that of the unique key, the new rows. Index: tasks_pkey, queues_pkey, settings_pkey.
WITH made AS (
    INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy, retry_delay,
                             max_retry_delay, timeout, tags, traceparent, concurrency_key)
    SELECT %(task)s::text, %(payload)s::jsonb, wanted.queue, wanted.priority,
           coalesce(%(scheduled_at)s::timestamptz, now() + make_interval(secs => %(delay)s::float8), now()),
           %(unique_key)s::text, %(max_retries)s::int4, %(retry_strategy)s::pgtask.retry_strategy,
           extract(epoch FROM make_interval(secs => %(retry_delay)s::float8)),
           extract(epoch FROM make_interval(secs => %(max_retry_delay)s::float8)),
           extract(epoch FROM make_interval(secs => %(timeout)s::float8)),
           %(tags)s::text[], %(traceparent)s::text, %(concurrency_key)s::text
      FROM (SELECT coalesce(%(queue)s::text, t.queue, 'default') AS queue, coalesce(%(priority)s::int2, t.priority, 1) AS priority
              FROM (VALUES (1)) AS one
              LEFT JOIN pgtask.tasks t ON t.name = %(task)s::text) wanted
     WHERE (SELECT pgtask.size_exceeded(s.name, 1) FROM pgtask.sized_queues s WHERE s.name = wanted.queue) IS NULL
    ON CONFLICT DO NOTHING
    RETURNING id, queue, priority, created_at, scheduled_at, retry_delay, max_retry_delay, timeout
), noted AS (
    INSERT INTO pgtask.audit (actor, address, action, subject, details, request_id)
    SELECT %(actor)s::text, %(address)s::text, %(action)s::text, made.id::text,
           jsonb_build_object('task', %(task)s::text, 'queue', made.queue), %(request_id)s::text
      FROM made
     WHERE (SELECT s.value #>> '{}' FROM pgtask.settings s WHERE s.name = 'audit_enqueues') IS DISTINCT FROM '0'
)
SELECT made.id, made.queue, made.priority, made.created_at, made.scheduled_at, made.retry_delay, made.max_retry_delay, made.timeout,
       CASE WHEN made.scheduled_at > now() THEN 'scheduled' ELSE 'pending' END AS status
  FROM made;
