-- Jobs that wait and match, those due first in front, with when they are due; a filter that is NULL matches all. Statuses are
-- the shown ones. Takes no locks. Index: jobs_lane, the same number of jobs from each lane.
SELECT due.scheduled_at, due.id
  FROM pgtask.lanes lane
 CROSS JOIN LATERAL (
    SELECT j.scheduled_at, j.id
      FROM pgtask.jobs j
     WHERE j.queue = lane.queue
       AND j.priority = lane.priority
       AND j.status <> 'running'
       AND (%(after_time)s::timestamptz IS NULL
            OR (j.scheduled_at, j.id + 0) > (%(after_time)s::timestamptz, %(after_id)s::int8))
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
     ORDER BY j.scheduled_at, j.id + 0
     LIMIT %(limit)s::int4
 ) due
 WHERE (%(queues)s::text[] IS NULL OR lane.queue = ANY (%(queues)s::text[]))
   AND (%(priorities)s::int2[] IS NULL OR lane.priority = ANY (%(priorities)s::int2[]))
 ORDER BY due.scheduled_at, due.id
 LIMIT %(limit)s::int4;
