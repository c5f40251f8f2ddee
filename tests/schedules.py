"""Schedules that tests put in, and what came of them, by plain SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.rows import Connection


class Ticked(NamedTuple):
    """A row of schedule_ticks."""

    tick_at: datetime
    outcome: str
    backfill: bool
    reason: str | None
    job_id: int | None


def add(connection: Connection, expression: str = "@every 10s", *, age: float = 0.0, **columns: Any) -> int:
    """A schedule that was made `age` seconds ago and that nobody has looked at since; returns its id.

    Its intervals count from then, too.
    """
    then = sql.SQL("now() - make_interval(secs => {})").format(sql.Literal(age))
    values: dict[str, Any] = {
        "name": f"schedule {expression}",
        "expression": expression,
        "task": "t",
        "anchor": then,
        "due_after": then,
        "created_at": then,
        **columns,
    }
    statement = sql.SQL("INSERT INTO pgtask.schedules ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(_value, values.values()))
    )
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def _value(value: Any) -> sql.Composable:
    if isinstance(value, sql.Composable):
        return value
    return sql.Literal(Jsonb(value) if isinstance(value, dict) else value)


def ticks(connection: Connection, id: int) -> list[Ticked]:
    """What became of a schedule's ticks, oldest first."""
    with connection.cursor(row_factory=psycopg.rows.class_row(Ticked)) as cursor:
        cursor.execute(
            "SELECT tick_at, outcome::text, backfill, reason, job_id FROM pgtask.schedule_ticks "
            "WHERE schedule_id = %s ORDER BY tick_at",
            [id],
        )
        return cursor.fetchall()


def jobs(connection: Connection, id: int) -> list[int]:
    """The ids of a schedule's live jobs."""
    rows = connection.execute("SELECT id FROM pgtask.jobs WHERE schedule_id = %s ORDER BY id", [id])
    return [row[0] for row in rows]


def column(connection: Connection, id: int, name: str) -> Any:
    """One column of a schedule."""
    query = sql.SQL("SELECT {} FROM pgtask.schedules WHERE id = %s").format(sql.Identifier(name))
    row = connection.execute(query, [id]).fetchone()
    assert row is not None
    return row[0]


def pass_time(connection: Connection, id: int, seconds: float) -> None:
    """Lets time pass for a schedule: everything that is stored of it lies so many seconds further back."""
    connection.execute("ALTER TABLE pgtask.schedules DISABLE TRIGGER schedules_replan")
    connection.execute(
        """
        UPDATE pgtask.schedules
           SET anchor = anchor - make_interval(secs => %(seconds)s),
               due_after = due_after - make_interval(secs => %(seconds)s),
               next_tick_at = next_tick_at - make_interval(secs => %(seconds)s)
         WHERE id = %(id)s
        """,
        {"seconds": seconds, "id": id},
    )
    connection.execute("ALTER TABLE pgtask.schedules ENABLE TRIGGER schedules_replan")
    connection.execute(
        "UPDATE pgtask.schedule_ticks SET tick_at = tick_at - make_interval(secs => %s) WHERE schedule_id = %s",
        [seconds, id],
    )
