-- Takes a declaration over from code. One that says what was taken over last leaves everything else as operators have set it
-- since. Code of an older worker does not overrule that of a newer one as long as that lives, so that both may run side by side;
-- nor does it overrule what was made at run time, or what another application declares. The answer is made, changed, kept or
-- refused; refused, too, when another worker made it meanwhile. Locks: the row. Index: schedules_name.
WITH declared AS MATERIALIZED (
    SELECT s.id, s.source, s.application, s.declared, s.declared_by, s.orphaned_at
      FROM pgtask.schedules s
     WHERE s.name = %(name)s::text
       FOR UPDATE
), live AS MATERIALIZED (
    SELECT n.worker_id, n.application, n.schedules
      FROM pgtask.declarations n
      JOIN pgtask.workers w ON w.id = n.worker_id
     WHERE w.dead_at IS NULL
       AND w.expires_at > now()
), made AS (
    INSERT INTO pgtask.schedules (name, source, application, declared, declared_by, expression, timezone, seconds_field, task,
                                  payload, queue, priority, max_retries, timeout, tags, catchup, catchup_limit, catchup_max_age,
                                  overlap, jitter, starts_at, ends_at, anchor)
    SELECT %(name)s::text, 'code', %(application)s::text, %(declared)s::jsonb, %(worker_id)s::int4, %(expression)s::text,
           %(timezone)s::text, %(seconds)s::text, %(task)s::text, %(payload)s::jsonb, %(queue)s::text, %(priority)s::int2,
           %(max_retries)s::int4, %(timeout)s::float8, %(tags)s::text[], %(catchup)s::pgtask.catchup, %(catchup_limit)s::int4,
           %(catchup_max_age)s::float8, %(overlap)s::pgtask.overlap, %(jitter)s::float8, %(starts_at)s::timestamptz,
           %(ends_at)s::timestamptz, coalesce(%(starts_at)s::timestamptz, date_trunc('second', now()))
     WHERE NOT EXISTS (SELECT FROM declared)
        ON CONFLICT (name) DO NOTHING
    RETURNING id
), ours AS MATERIALIZED (
    SELECT d.id, d.declared IS DISTINCT FROM %(declared)s::jsonb
                 AND (d.orphaned_at IS NOT NULL OR d.declared_by <= %(worker_id)s::int4
                      OR NOT EXISTS (SELECT FROM live l WHERE l.worker_id = d.declared_by)) AS changed
      FROM declared d
     WHERE d.source = 'code'
       AND (d.application = %(application)s::text
            OR NOT EXISTS (SELECT FROM live l WHERE l.application = d.application AND %(name)s::text = ANY (l.schedules)))
), renewed AS (
    UPDATE pgtask.schedules s
       SET declared_by = greatest(s.declared_by, %(worker_id)s::int4), orphaned_at = NULL, updated_at = now(),
           application = %(application)s::text
      FROM ours o
     WHERE s.id = o.id
       AND NOT o.changed
       AND (s.orphaned_at IS NOT NULL OR s.application <> %(application)s::text
            OR s.declared_by < %(worker_id)s::int4 AND s.declared = %(declared)s::jsonb)
    RETURNING s.id
), changed AS (
    UPDATE pgtask.schedules s
       SET application = %(application)s::text, declared = %(declared)s::jsonb, declared_by = %(worker_id)s::int4,
           expression = %(expression)s::text, timezone = %(timezone)s::text, seconds_field = %(seconds)s::text,
           task = %(task)s::text, payload = %(payload)s::jsonb, queue = %(queue)s::text, priority = %(priority)s::int2,
           max_retries = %(max_retries)s::int4, timeout = %(timeout)s::float8, tags = %(tags)s::text[],
           catchup = %(catchup)s::pgtask.catchup, catchup_limit = %(catchup_limit)s::int4,
           catchup_max_age = %(catchup_max_age)s::float8, overlap = %(overlap)s::pgtask.overlap, jitter = %(jitter)s::float8,
           starts_at = %(starts_at)s::timestamptz, ends_at = %(ends_at)s::timestamptz, orphaned_at = NULL, updated_at = now()
      FROM ours o
     WHERE s.id = o.id
       AND o.changed
    RETURNING s.id
)
SELECT CASE WHEN EXISTS (SELECT FROM made) THEN 'made'
            WHEN EXISTS (SELECT FROM changed) THEN 'changed'
            WHEN EXISTS (SELECT FROM ours) THEN 'kept'
            ELSE 'refused'
       END AS answer;
