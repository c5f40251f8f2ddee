-- The ids of live jobs that match, newest first; a filter that is NULL matches all. Statuses are the shown ones.
-- Takes no locks. Index: jobs_pkey backwards, which is quick unless what is asked for is rare; jobs_lane for a rare queue,
-- jobs_schedule for a schedule.
SELECT j.id
  FROM pgtask.jobs j
 WHERE (%(before)s::int8 IS NULL OR j.id < %(before)s::int8)
   AND (%(ids)s::int8[] IS NULL OR j.id = ANY (%(ids)s::int8[]))
   AND (%(statuses)s::text[] IS NULL
        OR CASE WHEN j.status = 'running' THEN 'running'
                WHEN j.retry_count > 0 THEN 'retrying'
                WHEN j.scheduled_at > now() THEN 'scheduled'
                ELSE 'pending' END = ANY (%(statuses)s::text[]))
   AND (%(queues)s::text[] IS NULL OR j.queue = ANY (%(queues)s::text[]))
   AND (%(not_queues)s::text[] IS NULL OR j.queue <> ALL (%(not_queues)s::text[]))
   AND (%(tasks)s::text[] IS NULL OR j.task = ANY (%(tasks)s::text[]))
   AND (%(task_patterns)s::text[] IS NULL OR j.task LIKE ANY (%(task_patterns)s::text[]))
   AND (%(not_tasks)s::text[] IS NULL OR j.task NOT LIKE ALL (%(not_tasks)s::text[]))
   AND (%(tags)s::text[] IS NULL OR j.tags && %(tags)s::text[])
   AND (%(not_tags)s::text[] IS NULL OR (j.tags && %(not_tags)s::text[]) IS NOT TRUE)
   AND (%(priorities)s::int2[] IS NULL OR j.priority = ANY (%(priorities)s::int2[]))
   AND (%(workers)s::int4[] IS NULL OR j.worker_id = ANY (%(workers)s::int4[]))
   AND (%(schedules)s::text[] IS NULL
        OR j.schedule_id = ANY (ARRAY(SELECT s.id FROM pgtask.schedules s WHERE s.name = ANY (%(schedules)s::text[]))))
   AND (%(unique_keys)s::text[] IS NULL OR coalesce(j.unique_key, j.scoped_key) = ANY (%(unique_keys)s::text[]))
   AND (%(concurrency_keys)s::text[] IS NULL OR j.concurrency_key = ANY (%(concurrency_keys)s::text[]))
   AND (%(created_after)s::timestamptz IS NULL OR j.created_at >= %(created_after)s::timestamptz)
   AND (%(created_before)s::timestamptz IS NULL OR j.created_at < %(created_before)s::timestamptz)
   AND (%(since)s::timestamptz IS NULL OR j.created_at >= %(since)s::timestamptz)
   AND (%(until)s::timestamptz IS NULL OR j.created_at < %(until)s::timestamptz)
   AND (%(payloads)s::jsonb[] IS NULL OR j.payload @> ANY (%(payloads)s::jsonb[]))
 ORDER BY j.id DESC
 LIMIT %(limit)s::int4;
