-- What came of an ended job beyond its end: the copy in a dead letter queue, and who resolved it. Takes no locks.
-- Index: runs_job_id, resolutions_pkey.
SELECT r.copy_id, s.resolved_at, s.resolved_by, s.note
  FROM pgtask.runs r
  LEFT JOIN pgtask.resolutions s ON s.job_id = r.job_id
 WHERE r.job_id = %(id)s::int8
   AND r.final;
