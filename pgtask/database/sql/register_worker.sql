-- One row for this start of a worker; its id is new and never used again.
INSERT INTO pgtask.workers (name, host, pid, version, queues, executors, slots, lease, expires_at)
VALUES (%(name)s::text, %(host)s::text, %(pid)s::int4, %(version)s::text, %(queues)s::text[], %(executors)s::int4,
        %(slots)s::int4, %(lease)s::float8, now() + make_interval(secs => %(lease)s::float8))
RETURNING id;
