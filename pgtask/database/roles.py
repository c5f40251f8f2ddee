"""The database roles that carry pgtask's rights, and the logins that are members of them.

Roles belong to the whole cluster and their rights to one database, so neither is part of the migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.rows import tuple_row

from pgtask.database import migrations, statements
from pgtask.database.connection import connect, one_line, translate_errors
from pgtask.model.errors import PgTaskError


class Role(StrEnum):
    """What a login may be to pgtask."""

    ENQUEUER = "enqueuer"
    WORKER = "worker"
    READER = "reader"
    OPERATOR = "operator"
    SERVER = "server"


# What a role is called in the database begins with it.
PREFIX = "pgtask_"

_CREATE = sql.SQL(statements.load("create_role").decode())
_REVOKE_RIGHTS = sql.SQL(statements.load("revoke_rights").decode())
_RIGHTS = {
    Role.ENQUEUER: sql.SQL(statements.load("grant_enqueuer").decode()),
    Role.WORKER: sql.SQL(statements.load("grant_worker").decode()),
    Role.READER: sql.SQL(statements.load("grant_reader").decode()),
    Role.OPERATOR: sql.SQL(statements.load("grant_operator").decode()),
    Role.SERVER: sql.SQL(statements.load("grant_server").decode()),
}
# A server acts for operators and for workers over HTTP.
_INCLUDED = {Role.SERVER: (Role.OPERATOR, Role.WORKER)}
_ADD_MEMBER = sql.SQL(statements.load("grant_membership").decode())
_REMOVE_MEMBER = sql.SQL(statements.load("revoke_membership").decode())
_IS_MEMBER = statements.load("find_membership")
_EXISTS = statements.load("find_role")
_OWNER = statements.load("find_owner")

_ATTEMPTS = 5

Answer = TypeVar("Answer")


class Granted(NamedTuple):
    """A role as the database knows it, and whether it was made now."""

    role: str
    created: bool


def database_name(role: Role) -> str:
    """What the role is called in the database."""
    return f"{PREFIX}{role}"


def grant(url: str, roles: Iterable[Role], logins: Iterable[str] = ()) -> list[Granted]:
    """Makes the roles that are missing, gives each exactly its rights in this database, and makes the logins members.

    All or nothing; repeating it changes nothing. Raises PgTaskError for an unknown login, or when this login may not
    do it; SchemaError when the schema is not the one that this release needs; DatabaseUnavailableError.
    """
    wanted, members = list(roles), list(logins)

    def work(connection: psycopg.Connection[Any]) -> list[Granted]:
        _require_owner(connection)
        _require_logins(connection, members)
        granted = [Granted(database_name(role), _create(connection, database_name(role))) for role in wanted]
        for role in wanted:
            name = sql.Identifier(database_name(role))
            connection.execute(_REVOKE_RIGHTS.format(role=name))
            for part in (*_INCLUDED.get(role, ()), role):
                connection.execute(_RIGHTS[part].format(role=name))
            for login in members:
                _add_member(connection, database_name(role), login)
        return granted

    return _change(url, work)


def revoke(url: str, roles: Iterable[Role], logins: Iterable[str] = ()) -> list[str]:
    """Takes the logins out of the roles or, without logins, all rights in this database from the roles.

    Returns the roles concerned, by their names in the database; those that there are not count as done. Raises as
    `grant` does.
    """
    wanted, members = [database_name(role) for role in roles], list(logins)

    def work(connection: psycopg.Connection[Any]) -> list[str]:
        _require_logins(connection, members)
        if not members:
            _require_owner(connection)
        found = [name for name in wanted if _exists(connection, name)]
        for name in found:
            for login in members:
                _remove_member(connection, name, login)
            if not members:
                connection.execute(_REVOKE_RIGHTS.format(role=sql.Identifier(name)))
        return found

    return _change(url, work)


def _change(url: str, work: Callable[[psycopg.Connection[Any]], Answer]) -> Answer:
    """Runs `work` in one transaction, while nobody else changes the schema or its rights."""
    with (
        translate_errors(url),
        migrations.lock(url),
        closing(connect(url, application_name="pgtask roles")) as connection,
    ):
        migrations.check(connection)
        for _ in range(_ATTEMPTS - 1):
            try:
                with connection.transaction():
                    return work(connection)
            except errors.InternalError:
                # "tuple concurrently updated": rights are kept in rows that DDL, as for a new partition, changes too.
                continue
        with connection.transaction():
            return work(connection)


def _require_owner(connection: psycopg.Connection[Any]) -> None:
    owner, allowed = _row(connection, _OWNER)
    if not allowed:
        raise PgTaskError(f"Only the owner of pgtask's tables may give rights on them: run this as {owner}.")


def _require_logins(connection: psycopg.Connection[Any], logins: list[str]) -> None:
    for login in logins:
        if not _exists(connection, login):
            raise PgTaskError(f"There is no database role '{login}'. Create it first: CREATE ROLE {login} LOGIN")


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    return bool(_row(connection, _EXISTS, name=name)[0])


def _create(connection: psycopg.Connection[Any], name: str) -> bool:
    """Makes a role unless it is there; whether it did."""
    if _exists(connection, name):
        return False
    try:
        with connection.transaction():
            connection.execute(_CREATE.format(role=sql.Identifier(name)))
    except (errors.DuplicateObject, errors.UniqueViolation):
        # Somebody in another database of this cluster was faster.
        return False
    except errors.InsufficientPrivilege as error:
        raise PgTaskError(
            f"This login may not create the role {name}: "
            f"give it CREATEROLE, or have an administrator run CREATE ROLE {name} NOLOGIN and repeat this."
        ) from error
    return True


def _add_member(connection: psycopg.Connection[Any], name: str, login: str) -> None:
    if _is_member(connection, name, login):
        return
    with _membership(name):
        try:
            with connection.transaction():
                connection.execute(_ADD_MEMBER.format(role=sql.Identifier(name), login=sql.Identifier(login)))
        except errors.UniqueViolation:
            # Somebody in another database of this cluster was faster.
            return


def _remove_member(connection: psycopg.Connection[Any], name: str, login: str) -> None:
    with _membership(name):
        connection.execute(_REMOVE_MEMBER.format(role=sql.Identifier(name), login=sql.Identifier(login)))
    if _is_member(connection, name, login):
        raise PgTaskError(f"Another role has made {login} a member of {name}: run this as that role or a superuser.")


@contextmanager
def _membership(name: str) -> Iterator[None]:
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise PgTaskError(
            f"This login may not change who is a member of {name} ({one_line(error)}): "
            "run this as a role that has CREATEROLE and made it, or as a superuser."
        ) from error
    except errors.InvalidGrantOperation as error:
        raise PgTaskError(f"PostgreSQL refused this membership: {one_line(error)}.") from error


def _is_member(connection: psycopg.Connection[Any], name: str, login: str) -> bool:
    return bool(_row(connection, _IS_MEMBER, role=name, login=login)[0])


def _row(connection: psycopg.Connection[Any], query: bytes, **values: str) -> tuple[Any, ...]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    assert row is not None
    return row
