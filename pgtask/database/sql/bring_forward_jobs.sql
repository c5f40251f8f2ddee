-- Brings the due times of all waiting jobs nearer by some seconds, as if so much time had passed for them, and tells workers.
-- For tests. Locks the rows that it changes. Index: none, it reads the whole table.
WITH moved AS (
    UPDATE pgtask.jobs j
       SET scheduled_at = j.scheduled_at - make_interval(secs => %(seconds)s::float8)
     WHERE j.status = 'pending'
    RETURNING j.queue, j.priority, j.scheduled_at
), notified AS (
    SELECT pgtask.notify_rewind(m.queue, m.priority, min(m.scheduled_at))
      FROM moved m
     GROUP BY m.queue, m.priority
)
SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM notified) AS lanes;
