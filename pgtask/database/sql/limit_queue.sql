-- Sets how many jobs of a queue run at once, or, with NULL, takes that back; for measurements.
INSERT INTO pgtask.queues AS q (name, max_workers)
VALUES (%(name)s::text, %(max_workers)s::int4)
    ON CONFLICT (name) DO UPDATE SET max_workers = excluded.max_workers;
