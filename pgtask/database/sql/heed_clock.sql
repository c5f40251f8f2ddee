-- Plans anew the schedules that have been seen to until a time that is yet to come, as a clock was ahead and has been put right.
-- Less than a minute is waited for. Ticks that fired in that time are written, and fire no second time. Reads the whole table,
-- which is small. Locks: the rows changed, skipping those that others hold. Index: schedules_pkey.
WITH concerned AS MATERIALIZED (
    SELECT s.id
      FROM pgtask.schedules s
     WHERE s.due_after > clock_timestamp() + interval '1 minute'
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE pgtask.schedules s
   SET due_after = now(), next_tick_at = NULL
 WHERE s.id = ANY (ARRAY(SELECT id FROM concerned))
RETURNING s.name;
