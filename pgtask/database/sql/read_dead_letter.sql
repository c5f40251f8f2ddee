-- Of which job a live one is a copy, and what that one ended with; NULL for a job that is none. Index: jobs_pkey.
SELECT j.dead_letter FROM pgtask.jobs j WHERE j.id = %(id)s::int8;
