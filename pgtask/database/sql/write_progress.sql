-- The newest progress of running jobs; fenced like every write of a worker. A HOT update. The ids must ascend and are not
-- joined, see complete_jobs.sql. Index: jobs_pkey.
UPDATE pgtask.jobs j
   SET progress = (%(progress)s::int2[])[width_bucket(j.id, %(ids)s::int8[])],
       progress_message = (%(messages)s::text[])[width_bucket(j.id, %(ids)s::int8[])]
 WHERE j.id = ANY (%(ids)s::int8[])
   AND j.attempt = (%(attempts)s::int4[])[width_bucket(j.id, %(ids)s::int8[])]
   AND j.worker_id = %(worker_id)s::int4
   AND j.status = 'running';
