-- Whether an attempt of this worker completed: asked when the answer to its COMMIT was lost. Index: runs_job_id.
SELECT r.attempt
  FROM pgtask.runs r
 WHERE r.job_id = %(id)s::int8
   AND r.attempt = %(attempt)s::int4
   AND r.worker_id = %(worker_id)s::int4
   AND r.outcome = 'completed';
