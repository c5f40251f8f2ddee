-- The ids of jobs that ended without completing and match, newest first; a filter that is NULL matches all. Takes no locks.
-- Index: runs_unsuccessful, which is small while most jobs complete; runs_job_id backwards where it is not.
SELECT r.job_id
  FROM pgtask.runs r
 WHERE r.final
   AND r.status <> 'completed'
   AND (%(before)s::int8 IS NULL OR r.job_id < %(before)s::int8)
   AND (%(statuses)s::pgtask.job_status[] IS NULL OR r.status = ANY (%(statuses)s::pgtask.job_status[]))
   AND (%(queue)s::text IS NULL OR r.queue = %(queue)s::text)
   AND (%(task)s::text IS NULL OR r.task LIKE %(task)s::text)
   AND (%(tag)s::text IS NULL OR r.tags @> ARRAY[%(tag)s::text])
 ORDER BY r.job_id DESC
 LIMIT %(limit)s::int4;
