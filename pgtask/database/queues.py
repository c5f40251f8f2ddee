"""Queues: listing, storing, pausing and resuming them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import dict_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import QueueNotFoundError, QueueStateError
from pgtask.model.queue import QueueRecord

_LIST = statements.load("list_queues")
_KNOWN = statements.load("known_queues")
_CREATE = statements.load("create_queue")
_SET = statements.load("set_queue")
_PAUSE = statements.load("pause_queues")
_RESUME = statements.load("resume_queues")
_DELETE = statements.load("delete_queue")

COUNT_CAP = 10_000
"""Due and later jobs of a lane that are counted, each; what is beyond is estimated."""


class Paused(NamedTuple):
    """A queue that is paused, since when and by whom."""

    name: str
    paused_at: datetime
    paused_by: str | None


def list_queues(connection: Connection) -> list[QueueRecord]:
    """All queues, by priority and name."""
    with reading(connection):
        return _list(connection, None)


def known_queues(connection: Connection) -> list[str]:
    """The names of all queues."""
    with reading(connection), connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_KNOWN).fetchall()


def read_queue(connection: Connection, name: str) -> QueueRecord:
    """One queue. Raises QueueNotFoundError."""
    with reading(connection):
        _require(connection, [name])
        return _list(connection, name)[0]


def create_queue(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    """Stores a queue; `changes` are its columns. Raises QueueStateError when it exists."""
    with in_words(connection), connection.transaction():
        if connection.execute(_CREATE, {"name": name}).fetchone() is None:
            raise QueueStateError(f"Queue '{name}' exists already. Change it: pgtask queues set {name}")
        _change(connection, name, changes)


def set_queue(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    """Changes columns of a queue, None meaning inherit, and stores it if it is not.

    Raises QueueNotFoundError.
    """
    with in_words(connection), connection.transaction():
        _require(connection, [name])
        connection.execute(_CREATE, {"name": name})
        _change(connection, name, changes)


def pause_queues(connection: Connection, names: Iterable[str], paused_by: str | None) -> list[Paused]:
    """Pauses queues; running jobs finish. One that is paused already stays as it is.

    Raises QueueNotFoundError.
    """
    wanted = sorted(set(names))
    with in_words(connection), connection.transaction():
        _require(connection, wanted)
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_PAUSE, {"names": wanted, "paused_by": paused_by})
            return [Paused(*row) for row in cursor]


def resume_queues(connection: Connection, names: Iterable[str]) -> set[str]:
    """Resumes queues and returns those that were paused. Raises QueueNotFoundError."""
    wanted = sorted(set(names))
    with in_words(connection), connection.transaction():
        _require(connection, wanted)
        with connection.cursor(row_factory=scalar_row) as cursor:
            return set(cursor.execute(_RESUME, {"names": wanted}))


def delete_queue(connection: Connection, name: str) -> None:
    """Deletes what is stored of a queue.

    Raises QueueNotFoundError; QueueStateError while live jobs are in it.
    """
    with in_words(connection), connection.transaction():
        _require(connection, [name])
        if connection.execute(_DELETE, {"name": name}).fetchone() is None:
            record = _list(connection, name)[0]
            if record.created_at is None:
                raise QueueStateError(
                    f"Nothing is stored of queue '{name}': it exists only by the jobs, tasks or workers that name it."
                )
            raise QueueStateError(
                f"Queue '{name}' has jobs that have not ended. Cancel them first: pgtask jobs cancel --queue {name}"
            )


def _require(connection: Connection, names: list[str]) -> None:
    with connection.cursor(row_factory=scalar_row) as cursor:
        known = cursor.execute(_KNOWN).fetchall()
    for name in names:
        if name not in known:
            raise QueueNotFoundError(name, known)


def _list(connection: Connection, name: str | None) -> list[QueueRecord]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_LIST, {"cap": COUNT_CAP, "name": name}, prepare=False)
        return [_record(row) for row in cursor]


def _record(row: dict[str, Any]) -> QueueRecord:
    others = row["scheduled"] + row["retrying"] + row["running"]
    estimate = (row.pop("estimated") or 0) - others
    row["pending_estimated"] = estimate > row["pending"]
    row["pending"] = max(row["pending"], estimate)
    return QueueRecord(**row)


def _change(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    connection.execute(_SET, {"name": name, "changes": json.dumps(dict(changes))})
