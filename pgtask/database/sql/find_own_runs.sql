-- How these attempts of a worker ended, for one that asks again after a lost answer. Index: runs_job_id.
SELECT r.job_id, r.attempt, r.outcome::text, r.final, r.error_type
  FROM unnest(%(ids)s::int8[], %(attempts)s::int4[]) AS sent (id, attempt)
  JOIN pgtask.runs r ON r.job_id = sent.id AND r.attempt = sent.attempt
 WHERE r.worker_id = %(worker_id)s::int4;
