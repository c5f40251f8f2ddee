-- One row for this start of a worker over HTTP, which is its token's own; its id is new and never used again.
INSERT INTO pgtask.workers (name, host, pid, version, queues, tasks, executors, slots, lease, expires_at, token)
VALUES (%(name)s::text, %(host)s::text, %(pid)s::int4, %(version)s::text, %(queues)s::text[], %(tasks)s::text[], 1,
        %(slots)s::int4, %(lease)s::float8, now() + make_interval(secs => %(lease)s::float8), %(token)s::text)
RETURNING id;
