-- Stores what is to be done to all jobs that a filter means. Locks: the new row.
INSERT INTO pgtask.bulk_operations (action, target, filter, options, created_by, matched, exact, bound, status, finished_at)
VALUES (%(action)s::text, %(target)s::text, %(filter)s::jsonb, %(options)s::jsonb, %(created_by)s::text, %(matched)s::int8,
        %(exact)s::bool, %(bound)s::jsonb, CASE WHEN %(matched)s::int8 = 0 THEN 'completed' ELSE 'pending' END,
        CASE WHEN %(matched)s::int8 = 0 THEN now() END)
RETURNING id;
