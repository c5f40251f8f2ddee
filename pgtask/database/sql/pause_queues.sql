-- Pauses queues, storing those that are not yet; one that is paused keeps since when and by whom.
-- Locks: their rows in the order of their names.
INSERT INTO pgtask.queues AS q (name, paused_at, paused_by)
SELECT names.name, now(), %(paused_by)s::text
  FROM unnest(%(names)s::text[]) AS names (name)
 ORDER BY names.name
    ON CONFLICT (name) DO UPDATE
   SET paused_at = coalesce(q.paused_at, excluded.paused_at),
       paused_by = CASE WHEN q.paused_at IS NULL THEN excluded.paused_by ELSE q.paused_by END
RETURNING q.name, q.paused_at, q.paused_by;
