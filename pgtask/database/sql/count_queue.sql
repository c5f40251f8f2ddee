-- Counts the waiting jobs of a queue, up to its max_size, and keeps the number. Index: jobs_lane. Locks: the row in queue_sizes,
-- unless somebody has it.
SELECT pgtask.count_queue(%(queue)s::text);
