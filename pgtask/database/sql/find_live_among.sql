-- Which of these jobs have not ended. Takes no locks. Index: jobs_pkey.
SELECT j.id
  FROM pgtask.jobs j
 WHERE j.id = ANY (%(ids)s::int8[]);
