-- What arguments tasks take, as workers have registered them. Takes no locks. Index: tasks_pkey.
SELECT t.name, t.payload_schema
  FROM pgtask.tasks t
 WHERE t.name = ANY (%(names)s::text[]);
