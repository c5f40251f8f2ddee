"""What the audit says, by plain SQL."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from tests.rows import Connection


class Audited(NamedTuple):
    """A row of the audit."""

    actor: str
    action: str
    subject: str | None
    details: dict[str, Any] | None


def audited(connection: Connection) -> list[Audited]:
    """All that was audited, oldest first."""
    with connection.cursor(row_factory=class_row(Audited)) as cursor:
        return cursor.execute("SELECT actor, action, subject, details FROM pgtask.audit ORDER BY id").fetchall()


def last_audited(connection: psycopg.Connection[Any]) -> Audited:
    """What was audited last."""
    return audited(connection)[-1]
