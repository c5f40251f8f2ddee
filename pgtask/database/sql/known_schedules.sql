-- The names of all schedules. Takes no locks. Index: schedules_name.
SELECT s.name FROM pgtask.schedules s ORDER BY s.name;
