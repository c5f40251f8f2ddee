-- Deletes waiting and ended jobs with their runs, logs and the unique keys that they hold, which may outlive their history.
-- Live rows are locked before, by lock_jobs, and the keys by lock_job_keys. Index: jobs_pkey, runs_job_id, job_logs_pkey,
-- unique_keys_job_id.
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
), keys AS (
    DELETE FROM pgtask.unique_keys k
     WHERE k.job_id = ANY (%(ids)s::int8[])
    RETURNING k.job_id
)
SELECT id FROM waiting
 UNION
SELECT job_id FROM history
 UNION
SELECT job_id FROM keys;
