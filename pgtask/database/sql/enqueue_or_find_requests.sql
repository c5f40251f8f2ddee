-- pgtask.enqueue_or_find for each object of a JSON array, by the order of their unique keys, so that two callers seldom lock them
-- crosswise. Objects have keys named as its parameters, durations in seconds, and `expires`.
-- Locks and indexes: as enqueue_unique.
SELECT i.position - 1 AS position, made.id, made.answer
  FROM (SELECT item.task, item.payload, item.queue, item.priority, item.delay, item.scheduled_at, item.unique_key, item.max_retries,
               item.retry_strategy, item.retry_delay, item.max_retry_delay, item.timeout, item.tags, item.traceparent,
               item.unique_by, item.unique_scope, item.unique_window, item.on_conflict, item.max_wait, item.concurrency_key,
               item.start_by, item.expires, item.position
          FROM ROWS FROM (jsonb_to_recordset(%(jobs)s::jsonb) AS (
                   task text, payload jsonb, queue text, priority int4, delay float8, scheduled_at timestamptz, unique_key text,
                   max_retries int4, retry_strategy text, retry_delay float8, max_retry_delay float8, timeout float8, tags text[],
                   traceparent text, unique_by text[], unique_scope text, unique_window float8, on_conflict text, max_wait float8,
                   concurrency_key text, start_by timestamptz, expires float8
               )) WITH ORDINALITY AS item (task, payload, queue, priority, delay, scheduled_at, unique_key, max_retries,
                                           retry_strategy, retry_delay, max_retry_delay, timeout, tags, traceparent, unique_by,
                                           unique_scope, unique_window, on_conflict, max_wait, concurrency_key, start_by, expires,
                                           position)
         ORDER BY item.unique_key, item.position) i
 CROSS JOIN LATERAL pgtask.enqueue_or_find(
           task => i.task,
           payload => i.payload,
           queue => i.queue,
           priority => i.priority,
           delay => make_interval(secs => i.delay),
           scheduled_at => i.scheduled_at,
           unique_key => i.unique_key,
           max_retries => i.max_retries,
           retry_strategy => i.retry_strategy,
           retry_delay => make_interval(secs => i.retry_delay),
           max_retry_delay => make_interval(secs => i.max_retry_delay),
           timeout => make_interval(secs => i.timeout),
           tags => i.tags,
           traceparent => i.traceparent,
           unique_by => i.unique_by,
           unique_scope => i.unique_scope,
           unique_window => make_interval(secs => i.unique_window),
           on_conflict => i.on_conflict,
           max_wait => make_interval(secs => i.max_wait),
           concurrency_key => i.concurrency_key,
           start_by => coalesce(i.start_by, now() + make_interval(secs => i.expires))
       ) AS made;
