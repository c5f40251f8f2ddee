-- Changes the columns of a stored queue that are keys of the JSON object `changes`; null means inherit, or no limit.
-- Locks: its row.
UPDATE pgtask.queues q
   SET (priority, weight, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout, max_workers,
        max_workers_per_key, rate_limit, rate_period, rate_burst, max_size, retry_budget, dead_letter_queue) = (
            SELECT n.priority, n.weight, n.max_retries, n.retry_strategy, n.retry_delay, n.max_retry_delay, n.timeout,
                   n.max_workers, n.max_workers_per_key, n.rate_limit, n.rate_period, n.rate_burst, n.max_size,
                   n.retry_budget, n.dead_letter_queue
              FROM jsonb_populate_record(q, %(changes)s::jsonb) n)
 WHERE q.name = %(name)s::text
RETURNING q.name;
