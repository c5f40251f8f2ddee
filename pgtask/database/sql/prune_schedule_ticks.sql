-- Deletes a batch of old ticks, oldest first. Index: schedule_ticks_fired_at. Locks: the rows deleted.
DELETE FROM pgtask.schedule_ticks t
 WHERE t.ctid = ANY (ARRAY(SELECT o.ctid
                             FROM pgtask.schedule_ticks o
                            WHERE o.fired_at < %(before)s::timestamptz
                            ORDER BY o.fired_at
                            LIMIT %(limit)s::int4));
