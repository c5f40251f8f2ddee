"""Databases that are made for a purpose and dropped after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg import conninfo, errors, sql

from pgtask.database.connection import connect
from pgtask.model.errors import PgTaskError


@contextlib.contextmanager
def database(url: str, name: str, *, template: str = "template1") -> Iterator[str]:
    """A database of that name for the block, on the server of `url`, copied from `template`; gives its URL.

    Raises PgTaskError when the role may not create databases.
    """
    try:
        _execute(url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    except errors.InsufficientPrivilege as error:
        raise PgTaskError(
            "This database role may not create databases, and one is needed here for a while: "
            "give it CREATEDB, or leave the URL out to use the embedded server."
        ) from error
    try:
        yield conninfo.make_conninfo(url, dbname=name)
    finally:
        _execute(url, "DROP DATABASE {} WITH (FORCE)", name)


def close_to_all(url: str, name: str) -> None:
    """Lets nobody connect to a database any more, so that it can be copied at any time."""
    _execute(url, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)


def _execute(url: str, statement: str, *names: str) -> None:
    opened = connect(url, application_name="pgtask scratch", statement_timeout=None)
    with contextlib.closing(opened) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
