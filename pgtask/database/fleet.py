"""Workers and tasks as operators see them."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import WorkerNotFoundError
from pgtask.model.fleet import ENDED_WITHIN, TaskRecord, WorkerRecord

_LIST_WORKERS = statements.load("list_workers")
_STOP_WORKERS = statements.load("stop_workers")
_LIST_TASKS = statements.load("list_tasks")


def list_workers(connection: Connection, *, ended_within: float | None = ENDED_WITHIN) -> list[WorkerRecord]:
    """Live workers, then those that ended within so many seconds (None: all that are kept)."""
    with reading(connection):
        return _workers(connection, None, ended_within)


def read_worker(connection: Connection, worker_id: int) -> WorkerRecord:
    """One worker, live or ended. Raises WorkerNotFoundError."""
    with reading(connection):
        found = _workers(connection, worker_id, None)
    if not found:
        raise WorkerNotFoundError(worker_id)
    return found[0]


def stop_workers(connection: Connection, worker_ids: Iterable[int]) -> set[int]:
    """Asks workers to shut down within their grace period; returns those that live."""
    with in_words(connection), connection.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(_STOP_WORKERS, {"ids": sorted(set(worker_ids))}))


def list_tasks(connection: Connection) -> list[TaskRecord]:
    """All tasks that workers have registered, by name."""
    with reading(connection), connection.cursor(row_factory=class_row(TaskRecord)) as cursor:
        return cursor.execute(_LIST_TASKS).fetchall()


def _workers(connection: Connection, worker_id: int | None, ended_within: float | None) -> list[WorkerRecord]:
    with connection.cursor(row_factory=class_row(WorkerRecord)) as cursor:
        cursor.execute(_LIST_WORKERS, {"id": worker_id, "ended_within": ended_within})
        return cursor.fetchall()
