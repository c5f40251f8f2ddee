-- The max_size of a queue in which so many more jobs may not wait, NULL when they may. Index: queues_pkey, and jobs_lane where it
-- counts. Locks: where it counts, the row in queue_sizes, which nobody waits for.
SELECT pgtask.size_exceeded(%(queue)s::text, %(count)s::int4);
