-- The ids of live jobs that match, newest first; a filter that is NULL matches all. Statuses are the shown ones.
-- Takes no locks. Index: jobs_pkey backwards, which is quick unless what is asked for is rare; jobs_lane for a rare queue.
SELECT j.id
  FROM pgtask.jobs j
 WHERE (%(before)s::int8 IS NULL OR j.id < %(before)s::int8)
   AND (%(statuses)s::text[] IS NULL
        OR CASE WHEN j.status = 'running' THEN 'running'
                WHEN j.retry_count > 0 THEN 'retrying'
                WHEN j.scheduled_at > now() THEN 'scheduled'
                ELSE 'pending' END = ANY (%(statuses)s::text[]))
   AND (%(queue)s::text IS NULL OR j.queue = %(queue)s::text)
   AND (%(task)s::text IS NULL OR j.task LIKE %(task)s::text)
   AND (%(tag)s::text IS NULL OR j.tags @> ARRAY[%(tag)s::text])
 ORDER BY j.id DESC
 LIMIT %(limit)s::int4;
