-- The latest ticks of a schedule, of those before `before` (NULL: all), newest first, with what became of their jobs. Takes no
-- locks. Index: schedule_ticks_pkey, jobs_pkey, runs_job_id.
SELECT t.tick_at, t.fired_at, t.outcome::text, t.backfill, t.reason, t.job_id, job.status, job.started_at, job.finished_at
  FROM (SELECT k.tick_at, k.fired_at, k.outcome, k.backfill, k.reason, k.job_id
          FROM pgtask.schedule_ticks k
         WHERE k.schedule_id = %(schedule_id)s::int4
           AND (%(before)s::timestamptz IS NULL OR k.tick_at < %(before)s::timestamptz)
         ORDER BY k.tick_at DESC
         LIMIT %(limit)s::int4) t
  LEFT JOIN LATERAL (SELECT a.status, a.started_at, a.finished_at FROM pgtask.all_jobs a WHERE a.id = t.job_id LIMIT 1) job ON true
 ORDER BY t.tick_at DESC;
