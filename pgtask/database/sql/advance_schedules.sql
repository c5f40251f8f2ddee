-- Notes how far schedules have been seen to and when they are due next; no next one is infinity. Locks: their rows, which the
-- caller holds already. Index: schedules_pkey.
UPDATE pgtask.schedules s
   SET due_after = greatest(s.due_after, a.due_after),
       next_tick_at = coalesce(a.next_tick_at, 'infinity'),
       last_tick_at = greatest(s.last_tick_at, a.last_tick_at),
       error = a.error
  FROM unnest(%(ids)s::int4[], %(due_afters)s::timestamptz[], %(next_tick_ats)s::timestamptz[],
              %(last_tick_ats)s::timestamptz[], %(errors)s::text[])
       AS a (id, due_after, next_tick_at, last_tick_at, error)
 WHERE s.id = a.id;
