-- The schedules that have come due or whose next tick is not yet computed, and the database's clock, which alone decides. Locks
-- their rows, skipping those that another scheduler or an edit holds. Index: schedules_due.
SELECT s.id, s.name, s.expression, s.timezone, s.seconds_field AS seconds, s.anchor, s.due_after, s.starts_at, s.ends_at,
       s.catchup::text, s.catchup_limit, s.catchup_max_age, s.overlap::text, s.jitter, now() AS instant
  FROM pgtask.schedules s
 WHERE s.paused_at IS NULL
   AND s.orphaned_at IS NULL
   AND s.error IS NULL
   AND (s.next_tick_at <= now() OR s.next_tick_at IS NULL)
   AND (%(ids)s::int4[] IS NULL OR s.id = ANY (%(ids)s::int4[]))
 ORDER BY s.next_tick_at NULLS FIRST
 LIMIT %(limit)s::int4
   FOR NO KEY UPDATE SKIP LOCKED;
