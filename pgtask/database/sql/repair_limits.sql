-- Frees what attempts that run no more still hold; see the function. Index: jobs_pkey, once per hold.
SELECT pgtask.repair_limits();
