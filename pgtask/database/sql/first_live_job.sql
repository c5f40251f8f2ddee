-- The first job of a stretch of ids that has not ended, and the time. Index: jobs_pkey; to call again from the id it gave, so
-- that the dead entries before it are passed but once.
SELECT (SELECT j.id FROM pgtask.jobs j
         WHERE j.id BETWEEN %(first)s::int8 AND %(last)s::int8
         ORDER BY j.id
         LIMIT 1) AS id,
       clock_timestamp() AS instant;
