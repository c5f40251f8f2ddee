-- Deletes what is stored of a queue unless live jobs are in it. Locks: its row. Index: jobs_lane.
DELETE FROM pgtask.queues q
 WHERE q.name = %(name)s::text
   AND NOT EXISTS (SELECT FROM pgtask.jobs j WHERE j.queue = q.name)
RETURNING q.name;
