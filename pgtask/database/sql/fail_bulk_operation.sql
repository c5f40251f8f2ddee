-- Notes that a chunk could not be done; after ten in a row the operation is given up. Locks: its row. Index: bulk_operations_pkey.
UPDATE pgtask.bulk_operations o
   SET failures = o.failures + 1,
       error = %(error)s::text,
       status = CASE WHEN o.failures >= 9 THEN 'failed' ELSE o.status END,
       finished_at = CASE WHEN o.failures >= 9 THEN now() END
 WHERE o.id = %(id)s::int8 AND o.status IN ('pending', 'running');
