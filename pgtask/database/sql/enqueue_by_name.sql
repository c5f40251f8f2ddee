-- Enqueues a job with the defaults that its task has registered. Locks: the new row. Index: tasks_pkey, jobs_unique_key.
-- `created` is false when the job was there before this statement: the live holder of the unique key.
SELECT enqueued.id,
       NOT EXISTS (SELECT FROM pgtask.jobs j WHERE j.id = enqueued.id) AS created
  FROM pgtask.enqueue(
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
           concurrency_key => %(concurrency_key)s::text,
           start_by => now() + make_interval(secs => %(expires)s::float8)
       ) AS enqueued (id);
