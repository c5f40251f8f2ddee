-- Puts ended jobs back, the first due at an instant and each further one so many seconds later; NULL leaves them as they were.
SELECT job_id AS id, answer, detail
  FROM pgtask.retry_jobs(%(ids)s::int8[], %(due)s::timestamptz, %(spacing)s::float8);
