-- The queues of jobs, wherever they are. Takes no locks. Index: jobs_pkey, runs_job_id.
SELECT j.id, j.queue FROM pgtask.jobs j WHERE j.id = ANY (%(ids)s::int8[])
 UNION ALL
SELECT r.job_id, r.queue FROM pgtask.runs r WHERE r.job_id = ANY (%(ids)s::int8[]) AND r.final;
