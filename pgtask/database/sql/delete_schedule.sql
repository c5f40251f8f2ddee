-- Deletes a schedule; false when there is none. Index: schedules_name. Locks: its row.
SELECT pgtask.unschedule(%(name)s::text) AS deleted;
