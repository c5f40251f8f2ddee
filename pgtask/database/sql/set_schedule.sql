-- Changes the columns of a schedule that are keys of the JSON object `changes`; null means inherit. Locks: its row. Index:
-- schedules_name.
UPDATE pgtask.schedules s
   SET (expression, timezone, seconds_field, task, payload, queue, priority, max_retries, timeout, tags, catchup, catchup_limit,
        catchup_max_age, overlap, jitter, starts_at, ends_at, updated_at) = (
            SELECT n.expression, n.timezone, n.seconds_field, n.task, n.payload, n.queue, n.priority, n.max_retries, n.timeout,
                   n.tags, n.catchup, n.catchup_limit, n.catchup_max_age, n.overlap, n.jitter, n.starts_at, n.ends_at, now()
              FROM jsonb_populate_record(s, %(changes)s::jsonb) n)
 WHERE s.name = %(name)s::text
RETURNING s.id;
