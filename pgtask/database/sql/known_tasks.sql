-- The names of all tasks that workers have registered. Takes no locks.
SELECT t.name FROM pgtask.tasks t ORDER BY t.name;
