-- The oldest operation with something left to do that nobody is at. Locks: its row, which keeps others away until the chunk is
-- committed. Index: bulk_operations_due.
SELECT o.id, o.action, o.target, o.filter, o.options, o.position, o.bound, o.created_at, o.created_by,
       o.processed, o.cancel_requested_at IS NOT NULL AS cancelled
  FROM pgtask.bulk_operations o
 WHERE o.status IN ('pending', 'running')
 ORDER BY o.id
 LIMIT 1
   FOR UPDATE SKIP LOCKED;
