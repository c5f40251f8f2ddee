-- Enqueues one job of the task file the way any client of PostgreSQL can. A failure is final: the file will not change.
INSERT INTO pgtask.jobs (task, payload, queue, max_retries, tags)
VALUES ('file', %(payload)s::jsonb, %(queue)s::text, 0, %(tags)s::text[])
RETURNING id;
