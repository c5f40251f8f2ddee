-- Schedules by name, or the one of this name or id. Takes no locks. Reads the whole table, which is small. Index: schedules_name,
-- schedules_pkey.
SELECT s.id, s.name,
       CASE WHEN s.orphaned_at IS NOT NULL THEN 'orphaned'
            WHEN s.paused_at IS NOT NULL THEN 'paused'
            WHEN s.error IS NOT NULL THEN 'broken'
            WHEN s.next_tick_at = 'infinity' THEN 'over'
            ELSE 'active' END AS state,
       s.source::text, s.application, s.expression, s.timezone, s.seconds_field AS seconds, s.task, s.payload, s.queue, s.priority,
       s.max_retries, s.timeout, s.tags, s.catchup::text, s.catchup_limit, s.catchup_max_age, s.overlap::text, s.jitter,
       s.starts_at, s.ends_at, s.anchor AS anchored_at, s.paused_at, s.paused_by, s.orphaned_at, s.error,
       CASE WHEN s.paused_at IS NULL AND s.orphaned_at IS NULL AND s.error IS NULL THEN nullif(s.next_tick_at, 'infinity')
       END AS next_tick_at,
       s.last_tick_at, s.created_at, s.updated_at
  FROM pgtask.schedules s
 WHERE (%(name)s::text IS NULL OR s.name = %(name)s::text)
   AND (%(id)s::int4 IS NULL OR s.id = %(id)s::int4)
 ORDER BY s.name;
