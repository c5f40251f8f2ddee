"""What `pgtask bench` asks of a database: jobs in any number, and when it was done with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import class_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection, connect

_FILL_JOBS = statements.load("fill_jobs")
_FILL_HISTORY = statements.load("fill_history")
_FIRST_LIVE = statements.load("first_live_job")
_COMPLETED = statements.load("sum_completed_jobs")
_PICKUP = statements.load("read_pickup_times")
_LIMIT_QUEUE = statements.load("limit_queue")
_MOST_AT_ONCE = statements.load("most_at_once")
_WAL = statements.load("wal_position")
_BACKENDS = statements.load("list_backends")
_SETTINGS = statements.load("read_server_settings")
_PRETEND = statements.load("pretend_to_run")


class Stretch(NamedTuple):
    """Jobs with ids from the first to the last."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Completed:
    """What came of a stretch of jobs, and when the first of them started."""

    completed: int
    runs: int
    started_at: datetime | None


@contextlib.contextmanager
def session(url: str, settings: dict[str, str] | None = None) -> Iterator[Connection]:
    """A connection in autocommit mode whose statements may take any time."""
    opened = connect(url, application_name="pgtask bench", settings=settings, statement_timeout=None)
    with contextlib.closing(opened) as connection:
        yield connection


@contextlib.contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    """A transaction that stays open for the block, so that no row that dies meanwhile can be cleaned up."""
    with session(url) as connection, connection.transaction():
        execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        execute(connection, "SELECT 1")
        yield


def execute(connection: Connection, statement: str, *names: str) -> None:
    """Runs a statement that needs no file of its own, with `names` in the place of its {}."""
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def fill_jobs(connection: Connection, task: str, count: int, queues: int = 1, keys: int = 0) -> Stretch:
    """Enqueues so many jobs in one statement, evenly over so many queues and concurrency keys, 0: none."""
    with connection.cursor(row_factory=class_row(Stretch)) as cursor:
        filled = cursor.execute(_FILL_JOBS, {"task": task, "count": count, "queues": queues, "keys": keys}).fetchone()
    assert filled is not None
    return filled


def fill_history(connection: Connection, task: str, count: int) -> None:
    """Makes up so many jobs that have completed."""
    connection.execute(_FILL_HISTORY, {"task": task, "count": count})


def first_live(connection: Connection, stretch: Stretch) -> tuple[int | None, datetime]:
    """The first of these jobs that has not ended, None when all have, and the database's time."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_FIRST_LIVE, stretch._asdict()).fetchone()
    assert row is not None
    return row[0], row[1]


def completed(connection: Connection, stretch: Stretch) -> Completed:
    """What came of these jobs."""
    with connection.cursor(row_factory=class_row(Completed)) as cursor:
        row = cursor.execute(_COMPLETED, stretch._asdict()).fetchone()
    assert row is not None
    return row


def pickup_times(connection: Connection, ids: Sequence[int]) -> list[float]:
    """Seconds from enqueue to start of each of these jobs' first attempts."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_PICKUP, {"ids": list(ids)}).fetchall()


def limit_queue(connection: Connection, name: str, max_workers: int | None) -> None:
    """Sets how many jobs of a queue run at once; None takes that back."""
    connection.execute(_LIMIT_QUEUE, {"name": name, "max_workers": max_workers})


def most_at_once(connection: Connection) -> tuple[int, int]:
    """The most attempts that ran at once, of all and of one concurrency key."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_MOST_AT_ONCE).fetchone()
    assert row is not None
    return row[0], row[1]


def wal_position(connection: Connection) -> int:
    """Bytes of WAL written so far; a difference of two is what all sessions of the server wrote in between."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        row: int | None = cursor.execute(_WAL).fetchone()
    assert row is not None
    return row


def backends(connection: Connection) -> dict[int, str]:
    """The process ids of the other sessions on this database, with the names they gave themselves."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(_BACKENDS).fetchall())


def server_settings(connection: Connection) -> dict[str, str]:
    """The server's version and the settings that its speed depends on."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(_SETTINGS).fetchall())


def pretend_to_run(
    connection: Connection, worker_ids: Sequence[int], stretch: Stretch
) -> dict[int, list[tuple[int, int]]]:
    """Deals these jobs out to workers as if they ran there; returns the (job id, attempt) pairs of each."""
    held: dict[int, list[tuple[int, int]]] = {id: [] for id in worker_ids}
    arguments: dict[str, Any] = {
        "worker_ids": list(worker_ids),
        "first": stretch.first,
        "each": stretch.size // len(worker_ids),
    }
    with connection.cursor(row_factory=tuple_row) as cursor:
        for worker_id, id, attempt in cursor.execute(_PRETEND, arguments):
            held[worker_id].append((id, attempt))
    return held
