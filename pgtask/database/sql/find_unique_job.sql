-- The live job that holds a unique key. Index: jobs_unique_key.
SELECT id FROM pgtask.jobs WHERE unique_key = %(unique_key)s::text;
