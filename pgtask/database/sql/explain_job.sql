-- Why a job waits, runs or has ended as it did, what matters most first. Takes no locks; quick with any backlog.
-- Index: jobs_pkey, jobs_lane, runs_job_id.
SELECT position, code, blocking, text, details
  FROM pgtask.explain(%(id)s::int8)
 ORDER BY position;
