-- Writes ticks and, for those that fire, their jobs with the policy of the schedule, else of the task, as pgtask.enqueue does. A
-- tick that is there already is left as it is and makes no job. A job is due at its tick, but not before now: one due in the past
-- would be found late, behind the watermarks. Index: schedule_ticks_pkey, schedules_pkey, tasks_pkey. Locks: the new rows.
WITH tick AS MATERIALIZED (
    SELECT t.schedule_id, t.tick_at, t.delay, t.outcome::pgtask.tick_outcome AS outcome, t.backfill, t.reason,
           CASE WHEN t.outcome = 'fired' THEN nextval('pgtask.jobs_id_seq') END AS job_id
      FROM unnest(%(schedule_ids)s::int4[], %(tick_ats)s::timestamptz[], %(delays)s::float8[], %(outcomes)s::text[],
                  %(backfills)s::bool[], %(reasons)s::text[])
           AS t (schedule_id, tick_at, delay, outcome, backfill, reason)
), written AS (
    INSERT INTO pgtask.schedule_ticks (schedule_id, tick_at, job_id, outcome, backfill, reason)
    SELECT t.schedule_id, t.tick_at, t.job_id, t.outcome, t.backfill, t.reason
      FROM tick t
     ORDER BY t.schedule_id, t.tick_at
        ON CONFLICT DO NOTHING
    RETURNING schedule_id, tick_at, job_id
), made AS (
    INSERT INTO pgtask.jobs (id, task, payload, queue, priority, scheduled_at, max_retries, timeout, tags, schedule_id, tick_at)
    SELECT w.job_id, s.task, s.payload, coalesce(s.queue, k.queue, 'default'), coalesce(s.priority, k.priority, 1),
           greatest(t.tick_at + make_interval(secs => t.delay), now()), s.max_retries, s.timeout, s.tags, s.id, t.tick_at
      FROM written w
      JOIN tick t ON t.schedule_id = w.schedule_id AND t.tick_at = w.tick_at
      JOIN pgtask.schedules s ON s.id = w.schedule_id
      LEFT JOIN pgtask.tasks k ON k.name = s.task
     WHERE w.job_id IS NOT NULL
     ORDER BY w.job_id
    RETURNING schedule_id
)
SELECT schedule_id FROM made;
