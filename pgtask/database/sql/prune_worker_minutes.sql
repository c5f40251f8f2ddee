-- Deletes a batch of what workers did long ago, oldest first. Index: worker_minutes_minute. Locks: the rows deleted.
DELETE FROM pgtask.worker_minutes m
 WHERE m.ctid = ANY (ARRAY(SELECT o.ctid
                             FROM pgtask.worker_minutes o
                            WHERE o.minute < %(before)s::timestamptz
                            ORDER BY o.minute
                            LIMIT %(limit)s::int4));
