-- Deletes waiting and ended jobs with their runs and logs. Live rows are locked before, by lock_jobs.
-- Index: jobs_pkey, runs_job_id, job_logs_pkey.
WITH waiting AS (
    DELETE FROM pgtask.jobs j
     WHERE j.id = ANY (%(ids)s::int8[])
       AND j.status = 'pending'
    RETURNING j.id
), history AS (
    DELETE FROM pgtask.runs r
     WHERE r.job_id = ANY (%(ids)s::int8[])
    RETURNING r.job_id
), logs AS (
    DELETE FROM pgtask.job_logs l
     WHERE l.job_id = ANY (%(ids)s::int8[])
)
SELECT id FROM waiting
 UNION
SELECT job_id FROM history;
