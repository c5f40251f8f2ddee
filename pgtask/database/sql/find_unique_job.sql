-- The live job that holds a unique key. Through a function, as producers may not read keys. Index: jobs_unique_key.
SELECT pgtask.unique_job(%(unique_key)s::text);
