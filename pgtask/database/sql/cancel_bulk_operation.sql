-- Asks that an operation stop after the chunk under way. Locks: its row, after whoever works on it. Index: bulk_operations_pkey.
UPDATE pgtask.bulk_operations o
   SET cancel_requested_at = coalesce(o.cancel_requested_at, now())
 WHERE o.id = %(id)s::int8 AND o.status IN ('pending', 'running');
