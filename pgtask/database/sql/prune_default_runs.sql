-- Deletes a batch of old runs from the default partition, the only one that is not simply dropped. Index: its BRIN one.
-- Locks: the rows deleted.
DELETE FROM pgtask.runs_default r
 WHERE r.ctid = ANY (ARRAY(SELECT o.ctid
                             FROM pgtask.runs_default o
                            WHERE o.finished_at < %(before)s::timestamptz
                            LIMIT %(limit)s::int4));
