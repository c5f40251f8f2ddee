-- Loads jobs in bulk; defaults are spelled out by the sender, as COPY applies them only to columns left out.
COPY pgtask.jobs (id, task, payload, queue, priority, scheduled_at, max_retries, retry_strategy, retry_delay, max_retry_delay,
                  timeout, tags, traceparent, concurrency_key, start_by) FROM STDIN
