-- Locks live jobs in the order of their ids, so that what follows acts on them as they are. Index: jobs_pkey.
SELECT j.id, j.status::text AS status
  FROM pgtask.jobs j
 WHERE j.id = ANY (%(ids)s::int8[])
 ORDER BY j.id
   FOR UPDATE;
