-- Settles unique keys whose rows lock_spent_keys has locked. One that a completed job goes on holding (until_success) is held
-- always from now on, as that job's history will be pruned; one that is held by nobody is deleted.
-- Index: unique_keys_pkey, jobs_pkey and runs_job_id, once per key.
WITH judged AS MATERIALIZED (
    SELECT k.unique_key,
           (k.expires_at <= now()) IS TRUE AS expired,
           k.scope,
           EXISTS (SELECT FROM pgtask.jobs j WHERE j.id = k.job_id) AS live,
           EXISTS (SELECT FROM pgtask.runs r WHERE r.job_id = k.job_id AND r.final AND r.status = 'completed') AS completed
      FROM pgtask.unique_keys k
     WHERE k.unique_key = ANY (%(keys)s::text[])
), kept AS (
    UPDATE pgtask.unique_keys k
       SET scope = 'always'
     WHERE k.unique_key = ANY (ARRAY(SELECT j.unique_key
                                       FROM judged j
                                      WHERE NOT j.expired AND j.scope = 'until_success' AND j.completed))
    RETURNING k.unique_key
), freed AS (
    DELETE FROM pgtask.unique_keys k
     WHERE k.unique_key = ANY (ARRAY(SELECT j.unique_key
                                       FROM judged j
                                      WHERE j.expired
                                         OR j.scope <> 'always' AND NOT j.live
                                            AND NOT (j.scope = 'until_success' AND j.completed)))
    RETURNING k.unique_key
)
SELECT (SELECT count(*) FROM kept) AS kept, (SELECT count(*) FROM freed) AS freed;
