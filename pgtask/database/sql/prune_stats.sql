-- Deletes a batch of old statistics, oldest first. Index: stats_minute_pkey. Locks: the rows deleted.
DELETE FROM pgtask.stats_minute s
 WHERE s.ctid = ANY (ARRAY(SELECT o.ctid
                             FROM pgtask.stats_minute o
                            WHERE o.minute < %(before)s::timestamptz
                            ORDER BY o.minute
                            LIMIT %(limit)s::int4));
