-- What a producer needs, and nothing else. Of jobs it may read the ids alone, so that RETURNING id works: they are numbers drawn
-- from a sequence and tell no more than how many jobs are live. It may not choose them, nor what the server owns.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.sized_queues TO {role};
    GRANT SELECT (id),
          INSERT (task, payload, queue, priority, scheduled_at, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout,
                  unique_key, concurrency_key, start_by, tags, traceparent)
       ON pgtask.jobs TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.enqueue, pgtask.enqueue_or_find, pgtask.unique_job, pgtask.payload_limit,
                              pgtask.size_exceeded TO {role};
END
$$;
