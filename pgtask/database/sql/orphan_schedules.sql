-- Marks as orphaned what code once declared and no live worker of that application declares any more. An application without a
-- live worker says nothing. Locks: the rows marked. Index: workers_pkey.
WITH declared AS MATERIALIZED (
    SELECT d.application, d.schedules
      FROM pgtask.declarations d
      JOIN pgtask.workers w ON w.id = d.worker_id
     WHERE w.dead_at IS NULL
       AND w.expires_at > now()
)
UPDATE pgtask.schedules s
   SET orphaned_at = now(), updated_at = now()
 WHERE s.source = 'code'
   AND s.orphaned_at IS NULL
   AND EXISTS (SELECT FROM declared d WHERE d.application = s.application)
   AND NOT EXISTS (SELECT FROM declared d WHERE d.application = s.application AND s.name = ANY (d.schedules))
RETURNING s.name, s.application;
