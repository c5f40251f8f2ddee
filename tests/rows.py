"""Rows that tests put in and look at, by plain SQL: what is checked must not be asked of the code under test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support import eventually

Connection = psycopg.Connection[Any]


def insert(connection: Connection, task: str, payload: Any = None, *, count: int = 1, **columns: Any) -> list[int]:
    """Inserts jobs as any SQL client would, in one statement; returns their ids in order."""
    values: dict[str, Any] = {"task": task, "payload": Jsonb({} if payload is None else payload), **columns}
    statement = sql.SQL("INSERT INTO pgtask.jobs ({}) SELECT {} FROM generate_series(1, {}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(_value(name, value) for name, value in values.items()),
        sql.Literal(count),
    )
    return sorted(row[0] for row in connection.execute(statement))


def _value(name: str, value: Any) -> sql.Composable:
    casts = {"status": "pgtask.job_status", "retry_strategy": "pgtask.retry_strategy"}
    literal: sql.Composable = value if isinstance(value, sql.Composable) else sql.Literal(value)
    return sql.SQL("{}::{}").format(literal, sql.SQL(casts[name])) if name in casts else literal


def ago(seconds: float) -> sql.Composable:
    """An instant so many seconds before the database's now, for a column."""
    return sql.SQL("now() - make_interval(secs => {})").format(sql.Literal(seconds))


def job(connection: Connection, id: int) -> dict[str, Any] | None:
    """The live job, None when there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM pgtask.jobs WHERE id = %s", [id]).fetchone()


def live(connection: Connection, id: int) -> dict[str, Any]:
    """The live job, which must be there."""
    found = job(connection, id)
    assert found is not None, f"job {id} is not live"
    return found


def runs(connection: Connection, id: int) -> list[dict[str, Any]]:
    """All runs of a job, oldest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT * FROM pgtask.runs WHERE job_id = %s ORDER BY finished_at, attempt", [id])
        return cursor.fetchall()


def final(connection: Connection, id: int) -> dict[str, Any] | None:
    """The final run of a job, None while it has none."""
    found = [run for run in runs(connection, id) if run["final"]]
    assert len(found) <= 1, f"job {id} has {len(found)} final runs"
    return found[0] if found else None


def ended(connection: Connection, id: int) -> dict[str, Any]:
    """The final run of a job, which must be there."""
    found = final(connection, id)
    assert found is not None, f"job {id} has not ended"
    return found


def statuses(connection: Connection, ids: list[int]) -> dict[int, str]:
    """The status of each job, stored or final."""
    return dict(connection.execute("SELECT id, status FROM pgtask.all_jobs WHERE id = ANY (%s)", [ids]).fetchall())


def number(connection: Connection, query: str, arguments: Mapping[str, Any] | list[Any] | None = None) -> int:
    """The one number that a query gives."""
    row = connection.execute(query, arguments).fetchone()
    assert row is not None
    return int(row[0])


def add_row(connection: Connection, table: str, **columns: Any) -> None:
    """Puts a row into a table of pgtask."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier("pgtask", table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(_value(name, value) for name, value in columns.items()),
    )
    connection.execute(statement)


def add_worker(connection: Connection, *, lease: float = 30.0, age: float = 0.0) -> int:
    """A worker's row, as register_worker makes it, but begun `age` seconds ago; its lease holds from now."""
    return number(
        connection,
        """
        INSERT INTO pgtask.workers (name, host, pid, version, executors, slots, lease, live_since, expires_at)
        VALUES ('test', 'here', 1, '0', 1, 10, %(lease)s, now() - make_interval(secs => %(age)s),
                now() + make_interval(secs => %(lease)s))
        RETURNING id
        """,
        {"lease": lease, "age": age},
    )


def expire(connection: Connection, worker_id: int) -> None:
    """Lets a worker's lease run out a second ago."""
    connection.execute("UPDATE pgtask.workers SET expires_at = now() - interval '1 s' WHERE id = %s", [worker_id])


def await_others(connection: Connection) -> None:
    """Waits for transactions under way in other databases of the server, or of autovacuum, to end.

    The feed tells nothing that came after the oldest transaction of the whole server, and other tests have theirs.
    """
    begun_before = number(connection, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")

    def under_way() -> int:
        return number(
            connection,
            """
            SELECT count(*) FROM pg_stat_activity
             WHERE backend_xid::text::bigint < %s
               AND (datname IS DISTINCT FROM current_database() OR backend_type = 'autovacuum worker')
            """,
            [begun_before],
        )

    eventually(lambda: under_way() == 0, 60)
