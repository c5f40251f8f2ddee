-- The dead letters that match by task and type of error, most first; a filter that is NULL matches all. Takes no locks.
-- Reads them all: index runs_unsuccessful.
SELECT d.task,
       d.error_type,
       count(*) AS count,
       min(d.finished_at) AS first_at,
       max(d.finished_at) AS last_at,
       (array_agg(d.id ORDER BY d.finished_at DESC, d.id DESC))[1] AS last_id
  FROM pgtask.dead_letters d
 WHERE (%(since)s::timestamptz IS NULL OR d.finished_at >= %(since)s::timestamptz)
   AND (%(status)s::text IS NULL OR d.status = %(status)s::text)
   AND (%(queue)s::text IS NULL OR d.queue = %(queue)s::text)
   AND (%(queues)s::text[] IS NULL OR d.queue = ANY (%(queues)s::text[]))
   AND (%(task)s::text IS NULL OR d.task LIKE %(task)s::text)
   AND (%(error_type)s::text IS NULL OR d.error_type LIKE %(error_type)s::text)
   AND (%(tag)s::text IS NULL OR d.tags @> ARRAY[%(tag)s::text])
 GROUP BY d.task, d.error_type
 ORDER BY count(*) DESC, max(d.finished_at) DESC
 LIMIT %(limit)s::int4;
