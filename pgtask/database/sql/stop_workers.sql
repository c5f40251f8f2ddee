-- Asks live workers to shut down within their grace period, by notice and, should that be lost, by their row.
-- Locks: their rows in the order of their ids.
WITH live AS (
    SELECT w.id
      FROM pgtask.workers w
     WHERE w.id = ANY (%(ids)s::int4[])
       AND w.dead_at IS NULL
     ORDER BY w.id
       FOR UPDATE
), asked AS (
    UPDATE pgtask.workers w
       SET stopping_at = coalesce(w.stopping_at, now())
      FROM live
     WHERE w.id = live.id
    RETURNING w.id
)
SELECT asked.id,
       pg_notify('pgtask', json_build_object('stop', asked.id)::text)
  FROM asked;
