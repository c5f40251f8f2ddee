-- Tasks of due jobs that no live worker knows: was not seen since the start of some live worker, as in explain_job.
-- Looks at the oldest `depth` jobs of each lane, where claims leave those behind that nobody can run, and at `most` in all.
-- Takes no locks. Index: jobs_lane.
WITH looked_at AS (
    SELECT due.task, due.status, due.scheduled_at
      FROM pgtask.lanes lane
     CROSS JOIN LATERAL (
        SELECT j.task, j.status, j.scheduled_at
          FROM pgtask.jobs j
         WHERE j.queue = lane.queue
           AND j.priority = lane.priority
           AND j.scheduled_at <= now()
         ORDER BY j.scheduled_at, j.id + 0
         LIMIT %(depth)s::int4
     ) due
     LIMIT %(most)s::int4
)
SELECT l.task,
       count(*) AS jobs,
       extract(epoch FROM now() - min(l.scheduled_at))::float8 AS oldest
  FROM looked_at l
 WHERE l.status = 'pending'
   AND NOT EXISTS (SELECT
                     FROM pgtask.tasks t
                    WHERE t.name = l.task
                      AND t.last_seen_at >= (SELECT min(w.started_at)
                                               FROM pgtask.workers w
                                              WHERE w.dead_at IS NULL
                                                AND w.slots > 0
                                                AND w.stopping_at IS NULL
                                                AND w.expires_at > now()))
 GROUP BY l.task
 ORDER BY 2 DESC, 1
 LIMIT 20;
