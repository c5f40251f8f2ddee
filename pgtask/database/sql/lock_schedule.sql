-- Keeps a schedule from being changed by others until the transaction ends; a scheduler passes it over meanwhile. Locks: its row.
-- Index: schedules_name.
SELECT s.id
  FROM pgtask.schedules s
 WHERE s.name = %(name)s::text
   FOR UPDATE;
