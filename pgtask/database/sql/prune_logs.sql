-- Deletes a batch of old log lines, oldest first. Index: job_logs_logged_at. Locks: the rows deleted.
DELETE FROM pgtask.job_logs l
 WHERE l.ctid = ANY (ARRAY(SELECT o.ctid
                             FROM pgtask.job_logs o
                            WHERE o.logged_at < %(before)s::timestamptz
                            ORDER BY o.logged_at
                            LIMIT %(limit)s::int4));
