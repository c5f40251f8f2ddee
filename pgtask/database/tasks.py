"""What operators do to tasks: hold their jobs, let them go, and set their rates."""

from __future__ import annotations

from psycopg.rows import scalar_row

from pgtask.database import fleet, statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words
from pgtask.model.errors import TaskNotFoundError
from pgtask.model.fleet import TaskRecord
from pgtask.model.rate import Rate

_KNOWN = statements.load("known_tasks")
_OPEN = statements.load("open_circuit")
_CLOSE = statements.load("close_circuit")
_SET_RATE = statements.load("set_task_rate")
_INHERIT_RATE = statements.load("inherit_task_rate")
_LOCK = statements.load("lock_task")


def read_task(connection: Connection, name: str) -> TaskRecord:
    """One task. Raises TaskNotFoundError."""
    found = {task.name: task for task in fleet.list_tasks(connection)}
    if name not in found:
        raise TaskNotFoundError(name, found)
    return found[name]


def lock_task(connection: Connection, name: str) -> TaskRecord:
    """As `read_task`, and nobody else changes its row until the caller's transaction ends."""
    with in_words(connection):
        connection.execute(_LOCK, {"name": name})
    return read_task(connection, name)


def open_circuit(
    connection: Connection, name: str, hold: float | None, reason: str | None, changed_by: str | None
) -> None:
    """Holds a task's jobs for so many seconds, after which one probes, or (None) until the circuit is closed.

    Raises TaskNotFoundError.
    """
    arguments = {"task": name, "hold": hold, "reason": reason, "changed_by": changed_by}
    with in_words(connection), connection.transaction():
        _require(connection, name)
        connection.execute(_OPEN, arguments)


def close_circuit(connection: Connection, name: str, changed_by: str | None) -> bool:
    """Lets a task's jobs start again; returns whether they could not. Raises TaskNotFoundError."""
    with in_words(connection), connection.transaction():
        _require(connection, name)
        row = connection.execute(_CLOSE, {"task": name, "changed_by": changed_by}).fetchone()
    return bool(row and row[0])


def set_rate(connection: Connection, name: str, rate: Rate | None, set_by: str | None) -> None:
    """Sets a task's rate by hand, None for no limit; what its code says counts no more. Raises TaskNotFoundError."""
    arguments = {
        "name": name,
        "rate_limit": rate and rate.limit,
        "rate_period": rate and rate.period,
        "rate_burst": rate and rate.burst,
        "set_by": set_by,
    }
    with in_words(connection), connection.transaction():
        _require(connection, name)
        connection.execute(_SET_RATE, arguments)


def inherit_rate(connection: Connection, name: str) -> None:
    """Gives a task the rate again that its code declares. Raises TaskNotFoundError."""
    with in_words(connection), connection.transaction():
        _require(connection, name)
        connection.execute(_INHERIT_RATE, {"name": name})


def _require(connection: Connection, name: str) -> None:
    with connection.cursor(row_factory=scalar_row) as cursor:
        known = cursor.execute(_KNOWN).fetchall()
    if name not in known:
        raise TaskNotFoundError(name, known)
