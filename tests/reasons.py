"""What pgtask.explain says, for tests of several kinds."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from tests.rows import add_row


class Reason(NamedTuple):
    """A row of pgtask.explain."""

    position: int
    code: str
    blocking: bool
    text: str
    details: dict[str, Any]


def reasons(connection: psycopg.Connection[Any], id: int | None) -> list[Reason]:
    """All reasons, in their order."""
    return [Reason(*row) for row in connection.execute("SELECT * FROM pgtask.explain(%s)", [id])]


def codes(connection: psycopg.Connection[Any], id: int, *, blocking: bool = False) -> list[str]:
    """The codes in their order, only those of reasons that block if so wanted."""
    return [reason.code for reason in reasons(connection, id) if reason.blocking or not blocking]


def headline(connection: psycopg.Connection[Any], id: int | None) -> Reason:
    """The reason that matters most."""
    return reasons(connection, id)[0]


def reason(connection: psycopg.Connection[Any], id: int, code: str) -> Reason:
    """The one reason with this code."""
    found = reasons(connection, id)
    (chosen,) = (reason for reason in found if reason.code == code)
    return chosen


def add_limit(connection: psycopg.Connection[Any], *, scope: str, name: str, key: str = "", **columns: Any) -> None:
    """How much of a limit is taken, whatever the queue's own triggers have counted."""
    connection.execute(
        "DELETE FROM pgtask.limits WHERE scope = %s::pgtask.limit_scope AND name = %s AND key = %s", [scope, name, key]
    )
    add_row(connection, "limits", scope=scope, name=name, key=key, **columns)
