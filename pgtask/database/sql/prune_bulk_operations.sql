-- Deletes a batch of operations that ended long ago. Locks: the rows deleted. Reads the whole table, which is small.
DELETE FROM pgtask.bulk_operations o
 WHERE o.id = ANY (ARRAY(SELECT b.id
                           FROM pgtask.bulk_operations b
                          WHERE b.finished_at < %(before)s::timestamptz
                          ORDER BY b.id
                          LIMIT %(limit)s::int4));
