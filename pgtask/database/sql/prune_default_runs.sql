-- Deletes a batch of old runs from the default partition, the only one that is not simply dropped, and says to the feed how far
-- they went. Index: its BRIN one. Locks: the rows deleted, the one row of feed_state.
WITH deleted AS (
    DELETE FROM pgtask.runs_default r
     WHERE r.ctid = ANY (ARRAY(SELECT o.ctid
                                 FROM pgtask.runs_default o
                                WHERE o.finished_at < %(before)s::timestamptz
                                LIMIT %(limit)s::int4))
    RETURNING r.xid, r.job_id, r.attempt
), last AS MATERIALIZED (
    SELECT d.xid, d.job_id, coalesce(d.attempt, 0) AS attempt
      FROM deleted d
     WHERE d.xid IS NOT NULL
     ORDER BY d.xid DESC, d.job_id DESC, coalesce(d.attempt, 0) DESC
     LIMIT 1
), noted AS MATERIALIZED (
    SELECT pgtask.note_pruned(l.xid, l.job_id, l.attempt)
      FROM last l
)
SELECT d.job_id
  FROM deleted d
 WHERE (SELECT count(*) FROM noted) >= 0;
