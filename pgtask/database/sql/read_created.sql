-- How many ids of jobs have been given out. Locks nothing.
SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM pgtask.jobs_id_seq s;
