-- Deletes jobs that failed for good or were quarantined, with their runs, logs and unique keys, and answers for each what it is
-- if it is none of them. The final run goes first and decides: one that is put back meanwhile has none, and keeps its history.
-- Locks: the rows deleted; the keys were locked before, by lock_job_keys. Index: runs_job_id, job_logs_pkey, unique_keys_job_id.
WITH ended AS (
    DELETE FROM pgtask.runs r
     WHERE r.job_id = ANY (%(ids)s::int8[])
       AND r.final
       AND r.status IN ('failed', 'quarantined')
    RETURNING r.job_id
), history AS (
    DELETE FROM pgtask.runs r
     WHERE r.job_id = ANY (ARRAY(SELECT e.job_id FROM ended e))
       AND NOT r.final
), logs AS (
    DELETE FROM pgtask.job_logs l
     WHERE l.job_id = ANY (ARRAY(SELECT e.job_id FROM ended e))
), keys AS (
    DELETE FROM pgtask.unique_keys k
     WHERE k.job_id = ANY (ARRAY(SELECT e.job_id FROM ended e))
)
SELECT wanted.id,
       CASE WHEN e.job_id IS NOT NULL THEN 'deleted'
            WHEN a.status IN ('completed', 'cancelled') THEN a.status
            WHEN a.id IS NOT NULL THEN 'active'
       END AS answer
  FROM unnest(%(ids)s::int8[]) AS wanted (id)
  LEFT JOIN ended e ON e.job_id = wanted.id
  LEFT JOIN pgtask.all_jobs a ON a.id = wanted.id;
