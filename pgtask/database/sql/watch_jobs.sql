-- Running jobs with their progress, latest started first. Takes no locks. Index: jobs_lane. Running jobs stand among the first of
-- their lane, so only the first `depth` due jobs of each are looked at: with many jobs before them that nobody can run, running
-- ones may be missed.
SELECT due.id, due.task, due.queue, due.attempt, due.worker_id, due.started_at, due.progress, due.progress_message
  FROM pgtask.lanes lane
 CROSS JOIN LATERAL (
    SELECT j.id, j.task, j.queue, j.attempt, j.worker_id, j.started_at, j.progress, j.progress_message, j.status
      FROM pgtask.jobs j
     WHERE j.queue = lane.queue
       AND j.priority = lane.priority
       AND j.scheduled_at <= now()
     ORDER BY j.scheduled_at, j.id + 0
     LIMIT %(depth)s::int4
 ) due
 WHERE due.status = 'running'
 ORDER BY due.started_at DESC NULLS LAST, due.id DESC
 LIMIT %(limit)s::int4;
