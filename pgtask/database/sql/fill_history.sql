-- Makes up any number of completed jobs, under ids that no job has, finished now; for measurements.
INSERT INTO pgtask.runs (job_id, started_at, scheduled_at, created_at, attempt, retry_count, claims, worker_id, executor,
                         outcome, status, priority, crash_count, final, queue, task, payload)
SELECT -n, now(), now(), now(), 1, 0, 1, 1, 1, 'completed', 'completed', 1, 0, true, 'default', %(task)s::text,
       jsonb_build_object('n', n)
  FROM generate_series(1, %(count)s::int4) AS n;
