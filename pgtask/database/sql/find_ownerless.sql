-- The workers that no longer live and still own running jobs. Reads the whole jobs table (see free_jobs.sql).
SELECT DISTINCT j.worker_id
  FROM pgtask.jobs j
 WHERE j.status = 'running'
   AND NOT EXISTS (SELECT FROM pgtask.workers w WHERE w.id = j.worker_id AND w.dead_at IS NULL)
   AND EXISTS (SELECT FROM pgtask.workers me
                WHERE me.id = %(worker_id)s::int4 AND me.dead_at IS NULL AND me.expires_at > now()
                  AND me.live_since + make_interval(secs => me.lease) <= now());
