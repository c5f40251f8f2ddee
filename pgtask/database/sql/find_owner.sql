-- Who owns pgtask's tables, and whether this role may act for them. Locks nothing; reads the catalog.
SELECT pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE')
  FROM pg_catalog.pg_class c
 WHERE c.oid = 'pgtask.jobs'::regclass;
