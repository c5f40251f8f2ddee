-- Whether this role may say which ids new jobs get, as COPY has to. Locks nothing; reads the catalog.
SELECT has_column_privilege('pgtask.jobs', 'id', 'INSERT') AND has_sequence_privilege('pgtask.jobs_id_seq', 'USAGE');
