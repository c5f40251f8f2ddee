-- Locks the unique keys of jobs, before lock_jobs: who enqueues locks them first, too. Index: unique_keys_job_id.
SELECT k.unique_key
  FROM pgtask.unique_keys k
 WHERE k.job_id = ANY (%(ids)s::int8[])
 ORDER BY k.unique_key
   FOR UPDATE;
