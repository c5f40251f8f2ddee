-- Opens circuits whose probe runs no more, see the function; returns how many. Index: jobs_pkey, once per probe.
SELECT pgtask.repair_circuits();
