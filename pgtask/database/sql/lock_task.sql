-- Keeps what is registered of a task from being changed by others until the transaction ends. Locks: its row. Index: tasks_pkey.
SELECT t.name
  FROM pgtask.tasks t
 WHERE t.name = %(name)s::text
   FOR UPDATE;
