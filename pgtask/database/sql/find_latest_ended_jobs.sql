-- Jobs that ended within a stretch of time and match, those that ended last first, with when that was; `seen` is how many
-- matched, of which no more than `most` are looked at: with as many, the last ones may be missing. A filter that is NULL
-- matches all. Takes no locks. Index: runs_finished_at, whose blocks follow one another in time.
WITH looked_at AS MATERIALIZED (
    SELECT r.finished_at, r.job_id
      FROM pgtask.runs r
     WHERE r.final
       AND r.finished_at >= %(begins_at)s::timestamptz
       AND r.finished_at < %(ends_at)s::timestamptz
       AND (%(before_time)s::timestamptz IS NULL OR (r.finished_at, r.job_id) < (%(before_time)s::timestamptz, %(before_id)s::int8))
       AND (%(ids)s::int8[] IS NULL OR r.job_id = ANY (%(ids)s::int8[]))
       AND (%(statuses)s::pgtask.job_status[] IS NULL OR r.status = ANY (%(statuses)s::pgtask.job_status[]))
       AND (%(queues)s::text[] IS NULL OR r.queue = ANY (%(queues)s::text[]))
       AND (%(not_queues)s::text[] IS NULL OR r.queue <> ALL (%(not_queues)s::text[]))
       AND (%(tasks)s::text[] IS NULL OR r.task = ANY (%(tasks)s::text[]))
       AND (%(task_patterns)s::text[] IS NULL OR r.task LIKE ANY (%(task_patterns)s::text[]))
       AND (%(not_tasks)s::text[] IS NULL OR r.task NOT LIKE ALL (%(not_tasks)s::text[]))
       AND (%(tags)s::text[] IS NULL OR r.tags && %(tags)s::text[])
       AND (%(not_tags)s::text[] IS NULL OR (r.tags && %(not_tags)s::text[]) IS NOT TRUE)
       AND (%(priorities)s::int2[] IS NULL OR r.priority = ANY (%(priorities)s::int2[]))
       AND (%(workers)s::int4[] IS NULL OR r.worker_id = ANY (%(workers)s::int4[]))
       AND (%(schedules)s::text[] IS NULL
            OR r.schedule_id = ANY (ARRAY(SELECT s.id FROM pgtask.schedules s WHERE s.name = ANY (%(schedules)s::text[]))))
       AND (%(errors)s::text[] IS NULL OR r.error_type LIKE ANY (%(errors)s::text[]))
       AND (%(not_errors)s::text[] IS NULL OR (r.error_type LIKE ANY (%(not_errors)s::text[])) IS NOT TRUE)
       AND (%(unique_keys)s::text[] IS NULL
            OR r.unique_key = ANY (%(unique_keys)s::text[]) OR r.scoped_key = ANY (%(unique_keys)s::text[]))
       AND (%(concurrency_keys)s::text[] IS NULL OR r.concurrency_key = ANY (%(concurrency_keys)s::text[]))
       AND (%(created_after)s::timestamptz IS NULL OR r.created_at >= %(created_after)s::timestamptz)
       AND (%(created_before)s::timestamptz IS NULL OR r.created_at < %(created_before)s::timestamptz)
       AND (%(since)s::timestamptz IS NULL OR r.finished_at >= %(since)s::timestamptz)
       AND (%(until)s::timestamptz IS NULL OR r.finished_at < %(until)s::timestamptz)
       AND (%(payloads)s::jsonb[] IS NULL OR r.payload @> ANY (%(payloads)s::jsonb[]))
     LIMIT %(most)s::int4
)
SELECT l.finished_at, l.job_id, count(*) OVER () AS seen
  FROM looked_at l
 ORDER BY l.finished_at DESC, l.job_id DESC
 LIMIT %(limit)s::int4;
