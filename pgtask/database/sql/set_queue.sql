-- Changes the columns of a stored queue that are keys of the JSON object `changes`; null means inherit. Locks: its row.
UPDATE pgtask.queues q
   SET (priority, weight, max_retries, retry_strategy, retry_delay, max_retry_delay, timeout) = (
            SELECT n.priority, n.weight, n.max_retries, n.retry_strategy, n.retry_delay, n.max_retry_delay, n.timeout
              FROM jsonb_populate_record(q, %(changes)s::jsonb) n)
 WHERE q.name = %(name)s::text
RETURNING q.name;
