-- Deletes a batch of old resolutions whose jobs are no longer in history: a partition may live on for days past its retention.
-- Locks: the rows deleted. Index: runs_job_id, for those that are old enough.
DELETE FROM pgtask.resolutions s
 WHERE s.job_id = ANY (ARRAY(SELECT o.job_id
                               FROM pgtask.resolutions o
                              WHERE o.resolved_at < %(before)s::timestamptz
                                AND NOT EXISTS (SELECT FROM pgtask.runs r WHERE r.job_id = o.job_id AND r.final)
                              LIMIT %(limit)s::int4));
