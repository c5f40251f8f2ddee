-- Enqueues a job with the defaults that its task has registered, or finds the job that holds its unique key.
-- Locks: the new row; of a unique job as enqueue_unique. Index: tasks_pkey, and those of enqueue_unique.
SELECT enqueued.id, enqueued.answer
  FROM pgtask.enqueue_or_find(
           task => %(task)s::text,
           payload => %(payload)s::jsonb,
           queue => %(queue)s::text,
           priority => %(priority)s::int4,
           delay => make_interval(secs => %(delay)s::float8),
           scheduled_at => %(scheduled_at)s::timestamptz,
           unique_key => %(unique_key)s::text,
           max_retries => %(max_retries)s::int4,
           timeout => make_interval(secs => %(timeout)s::float8),
           tags => %(tags)s::text[],
           unique_by => %(unique_by)s::text[],
           unique_scope => %(unique_scope)s::text,
           unique_window => make_interval(secs => %(unique_window)s::float8),
           on_conflict => %(on_conflict)s::text,
           max_wait => make_interval(secs => %(max_wait)s::float8),
           concurrency_key => %(concurrency_key)s::text,
           start_by => now() + make_interval(secs => %(expires)s::float8)
       ) AS enqueued;
