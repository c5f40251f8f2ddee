-- Whether a login is a direct member of a role. Locks nothing; reads the catalog.
SELECT EXISTS (SELECT
                 FROM pg_catalog.pg_auth_members a
                 JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
                 JOIN pg_catalog.pg_roles m ON m.oid = a.member
                WHERE r.rolname = %(role)s::text
                  AND m.rolname = %(login)s::text);
