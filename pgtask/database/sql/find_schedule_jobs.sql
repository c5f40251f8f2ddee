-- The live jobs of schedules, oldest first. Takes no locks. Index: jobs_schedule.
SELECT j.schedule_id, j.id, j.status = 'running' AS running
  FROM pgtask.jobs j
 WHERE j.schedule_id = ANY (%(schedule_ids)s::int4[])
 ORDER BY j.id;
