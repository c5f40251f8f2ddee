-- Marks as orphaned what code once declared and no live worker of that application declares any more, and takes the mark from
-- what one does declare: it may have been thought dead for a while, as all are after an outage of the database, and declares
-- only when it starts. An application without a live worker says nothing. Locks: the rows changed, skipping those that others
-- hold, as nothing fires while this waits; the next call sees to them. Index: workers_pkey, schedules_pkey.
WITH declared AS MATERIALIZED (
    SELECT d.application, d.schedules
      FROM pgtask.declarations d
      JOIN pgtask.workers w ON w.id = d.worker_id
     WHERE w.dead_at IS NULL
       AND w.expires_at > now()
), concerned AS MATERIALIZED (
    SELECT s.id
      FROM pgtask.schedules s
     WHERE s.source = 'code'
       AND EXISTS (SELECT FROM declared d WHERE d.application = s.application)
       AND (s.orphaned_at IS NULL)
           = NOT EXISTS (SELECT FROM declared d WHERE d.application = s.application AND s.name = ANY (d.schedules))
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE pgtask.schedules s
   SET orphaned_at = CASE WHEN s.orphaned_at IS NULL THEN now() END, updated_at = now()
 WHERE s.id = ANY (ARRAY(SELECT id FROM concerned))
RETURNING s.name, s.application, s.orphaned_at IS NOT NULL AS orphaned;
