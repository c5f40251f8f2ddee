-- Enqueues a job of a schedule now, outside of its ticks. Index: schedules_name. Locks: the new row.
SELECT pgtask.run_schedule(%(name)s::text) AS id;
