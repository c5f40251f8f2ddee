-- The names of all queues, stored or only named by live jobs, tasks or workers. Takes no locks.
-- Index: jobs_lane, once per queue.
WITH RECURSIVE used AS (
    (SELECT j.queue
       FROM pgtask.jobs j
      ORDER BY j.queue
      LIMIT 1)
     UNION ALL
    SELECT next.queue
      FROM used
     CROSS JOIN LATERAL (
        SELECT j.queue
          FROM pgtask.jobs j
         WHERE j.queue > used.queue
         ORDER BY j.queue
         LIMIT 1
     ) next
)
SELECT q.name FROM pgtask.queues q
 UNION
SELECT used.queue FROM used
 UNION
SELECT t.queue FROM pgtask.tasks t
 UNION
SELECT unnest(w.queues) FROM pgtask.workers w WHERE w.dead_at IS NULL
 UNION
SELECT 'default'
 ORDER BY 1;
