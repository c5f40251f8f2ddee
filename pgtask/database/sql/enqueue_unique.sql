-- Enqueues a job with the defaults that its task has registered, or finds the job that holds its unique key and does with it what
-- on_conflict says.
-- Locks: the row of the key; the new row, or the holder's while it waits. Index: unique_keys_pkey, jobs_pkey, jobs_unique_key,
-- tasks_pkey.
SELECT made.id, made.answer
  FROM pgtask.enqueue_or_find(
           task => %(task)s::text,
           payload => %(payload)s::jsonb,
           queue => %(queue)s::text,
           priority => %(priority)s::int4,
           delay => make_interval(secs => %(delay)s::float8),
           scheduled_at => %(scheduled_at)s::timestamptz,
           unique_key => %(unique_key)s::text,
           max_retries => %(max_retries)s::int4,
           retry_strategy => %(retry_strategy)s::text,
           retry_delay => make_interval(secs => %(retry_delay)s::float8),
           max_retry_delay => make_interval(secs => %(max_retry_delay)s::float8),
           timeout => make_interval(secs => %(timeout)s::float8),
           tags => %(tags)s::text[],
           traceparent => %(traceparent)s::text,
           unique_by => %(unique_by)s::text[],
           unique_scope => %(unique_scope)s::text,
           unique_window => make_interval(secs => %(unique_window)s::float8),
           on_conflict => %(on_conflict)s::text,
           max_wait => make_interval(secs => %(max_wait)s::float8),
           concurrency_key => %(concurrency_key)s::text,
           start_by => coalesce(%(start_by)s::timestamptz, now() + make_interval(secs => %(expires)s::float8))
       ) AS made;
