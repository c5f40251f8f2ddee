-- Whether there is a role of this name. Locks nothing; reads the catalog.
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = %(name)s::text);
