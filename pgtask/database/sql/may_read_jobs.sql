-- Whether this role may read jobs. Locks nothing; reads the catalog.
SELECT has_table_privilege('pgtask.all_jobs', 'SELECT');
