"""Logins for tests, with roles that are the test's own: roles belong to the whole cluster, which others use as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgtask.database import roles
from pgtask.database.roles import Role

PASSWORD = "not secret"


class Logins:
    """Makes logins for one database; they and the roles they were given begin with `prefix`."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.prefix = f"pgtask_test_{uuid4().hex[:12]}_"
        self._made = 0

    def name(self, attributes: str = "LOGIN") -> str:
        """A new login that is a member of nothing."""
        self._made += 1
        name = f"{self.prefix}login_{self._made}"
        statement = sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(
            sql.Identifier(name), sql.SQL(attributes), sql.Literal(PASSWORD)
        )
        with psycopg.connect(self.database) as admin:
            admin.execute(statement)
        return name

    def url(self, name: str) -> str:
        """The database as this login sees it."""
        return make_conninfo(self.database, user=name, password=PASSWORD)

    def make(self, role: Role | None) -> str:
        """The database as a new login sees it that is a member of this role alone."""
        name = self.name()
        if role is not None:
            with mock.patch.object(roles, "PREFIX", self.prefix):
                roles.grant(self.database, [role], [name])
        return self.url(name)

    def roles(self) -> list[str]:
        """What there is in the cluster, without the prefix."""
        with psycopg.connect(self.database) as admin:
            rows = admin.execute(
                "SELECT substr(rolname, length(%(prefix)s) + 1) FROM pg_roles "
                "WHERE starts_with(rolname, %(prefix)s) ORDER BY 1",
                {"prefix": self.prefix},
            )
            return [name for (name,) in rows]

    def clear_away(self) -> None:
        """Drops them all."""
        names = [sql.Identifier(self.prefix + name) for name in self.roles()]
        with psycopg.connect(self.database, autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
                admin.execute(sql.SQL("DROP ROLE {}").format(name))


@contextmanager
def made_logins(database: str) -> Iterator[Logins]:
    """Logins for the block."""
    logins = Logins(database)
    try:
        yield logins
    finally:
        logins.clear_away()
