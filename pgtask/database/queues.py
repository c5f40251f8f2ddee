"""Queues: listing, storing, pausing and resuming them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import errors
from psycopg.rows import dict_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import ConfigurationError, QueueNotFoundError, QueueStateError
from pgtask.model.queue import QueueRecord
from pgtask.model.rate import Rate

_LIST = statements.load("list_queues")
_KNOWN = statements.load("known_queues")
_CREATE = statements.load("create_queue")
_SET = statements.load("set_queue")
_PAUSE = statements.load("pause_queues")
_RESUME = statements.load("resume_queues")
_DELETE = statements.load("delete_queue")
_LOCK = statements.load("lock_queue")

COUNT_CAP = 10_000
"""Due and later jobs of a lane that are counted, each; what is beyond is estimated."""


# What the checks of the table say, in words.
_REFUSALS = {
    "queues_name_check": "A queue's name has 1 to 128 bytes.",
    "queues_weight_range": "A weight is a number from 1 to 1000.",
    "queues_max_workers_range": "max_workers is a number from 0 on.",
    "queues_max_workers_per_key_range": "max_workers_per_key is a number from 1 on.",
    "queues_rate_whole": "A burst needs a rate: give both, such as --rate-limit 100/min --rate-burst 5.",
    "queues_max_size_range": "max_size is a number from 1 on.",
    "queues_retry_budget_range": "A retry budget is a share from 0% to 100%, such as 20%.",
    "queues_dead_letter_queue_length": "The name of a dead letter queue has 1 to 128 bytes.",
    "queues_dead_letter_queue_other": "A queue cannot be its own dead letter queue: name another one.",
}


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


def lock_queue(connection: Connection, name: str, *, store: bool) -> QueueRecord:
    """One queue, which nobody else changes until the caller's transaction ends; with `store`, it is stored if need be.

    Raises QueueNotFoundError.
    """
    with in_words(connection):
        _require(connection, [name])
        if store:
            connection.execute(_CREATE, {"name": name})
        connection.execute(_LOCK, {"name": name})
        return _list(connection, name)[0]


def create_queue(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    """Stores a queue with `changes`, as `set_queue` takes them.

    Raises QueueStateError when it exists, ConfigurationError for a value that cannot be.
    """
    with in_words(connection), _checked(), connection.transaction():
        if connection.execute(_CREATE, {"name": name}).fetchone() is None:
            raise QueueStateError(f"Queue '{name}' exists already. Change it: pgtask queues set {name}")
        _change(connection, name, changes)


def set_queue(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    """Changes columns of a queue, None meaning inherit or no limit, and stores it if it is not.

    `rate_limit` is a Rate, whose burst becomes the queue's; `rate_burst` alone changes that of the rate it has.
    Raises QueueNotFoundError, ConfigurationError for a value that cannot be.
    """
    with in_words(connection), _checked(), connection.transaction():
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


@contextmanager
def _checked() -> Iterator[None]:
    """Says in words which check of the table refused."""
    try:
        yield
    except errors.CheckViolation as error:
        refusal = _REFUSALS.get(error.diag.constraint_name or "")
        if refusal is None:
            raise
        raise ConfigurationError(refusal) from error


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
    limit, period = row["rate_limit"], row.pop("rate_period")
    row["rate_limit"] = None if limit is None else str(Rate(limit, period, row["rate_burst"]))
    return QueueRecord(**row)


def _change(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    columns = dict(changes)
    if "rate_limit" in columns:
        rate: Rate | None = columns["rate_limit"]
        columns |= rate.columns() if rate else dict.fromkeys(("rate_limit", "rate_period", "rate_burst"))
    connection.execute(_SET, {"name": name, "changes": json.dumps(columns)})
