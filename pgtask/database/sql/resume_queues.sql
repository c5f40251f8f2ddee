-- Resumes those of the queues that are paused. Locks: their rows, in the order of their names.
WITH paused AS (
    SELECT q.name
      FROM pgtask.queues q
     WHERE q.name = ANY (%(names)s::text[])
       AND q.paused_at IS NOT NULL
     ORDER BY q.name
       FOR UPDATE
)
UPDATE pgtask.queues q
   SET paused_at = NULL,
       paused_by = NULL
  FROM paused
 WHERE q.name = paused.name
RETURNING q.name;
