-- The dead letters that match and ended between two positions, oldest first; a filter that is NULL matches all. Takes no locks.
-- Index: runs_unsuccessful of each partition, merged; resolutions_pkey for each.
SELECT d.id, d.finished_at
  FROM pgtask.dead_letters d
 WHERE (%(after_time)s::timestamptz IS NULL OR (d.finished_at, d.id) > (%(after_time)s::timestamptz, %(after_id)s::int8))
   AND (d.finished_at, d.id) <= (%(until_time)s::timestamptz, %(until_id)s::int8)
   AND (%(since)s::timestamptz IS NULL OR d.finished_at >= %(since)s::timestamptz)
   AND (%(status)s::text IS NULL OR d.status = %(status)s::text)
   AND (%(queue)s::text IS NULL OR d.queue = %(queue)s::text)
   AND (%(queues)s::text[] IS NULL OR d.queue = ANY (%(queues)s::text[]))
   AND (%(task)s::text IS NULL OR d.task LIKE %(task)s::text)
   AND (%(error_type)s::text IS NULL OR d.error_type LIKE %(error_type)s::text)
   AND (%(tag)s::text IS NULL OR d.tags @> ARRAY[%(tag)s::text])
 ORDER BY d.finished_at, d.id
 LIMIT %(limit)s::int4;
