"""Upkeep of history: partitions of pgtask.runs made ahead, what is past its retention removed.

Any worker may call it, as often as it likes. Each step is a short transaction of its own that gives
up rather than wait for a lock, so that it never stands in the way of a job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow, tuple_row

from pgtask.database import statements

DAY = timedelta(days=1)
WEEK = timedelta(days=7)

# Days of retention beyond which a partition holds a week: few partitions plan faster.
WEEKLY_BEYOND = 30
DAYS_AHEAD = timedelta(days=3)
WEEK_AHEAD = WEEK

# A retention beyond any calendar counts as a hundred years.
MAX_DAYS = 36500


# Rows a transaction deletes, and seconds that one call spends on deleting; the next call goes on.
BATCH = 2000
SECONDS = 5.0

_BEGIN = statements.load("begin_maintenance")
_RETENTION = statements.load("read_retention")
_PARTITIONS = statements.load("list_partitions")
_ADD = statements.load("add_partition")
_DROP_EXPIRED = statements.load("drop_expired_partition")
_LOCK_SPENT_KEYS = statements.load("lock_spent_keys")
_SETTLE_KEYS = statements.load("settle_keys")
_PRUNE_DEFAULT_RUNS = statements.load("prune_default_runs")
_PRUNE_LOGS = statements.load("prune_logs")
_PRUNE_TICKS = statements.load("prune_schedule_ticks")
_PRUNE_STATS = statements.load("prune_stats")
_PRUNE_RESOLUTIONS = statements.load("prune_resolutions")
_PRUNE_WORKERS = statements.load("prune_workers")
_PRUNE_OPERATIONS = statements.load("prune_bulk_operations")
_PRUNE_WORKER_MINUTES = statements.load("prune_worker_minutes")
_PRUNE_API = statements.load("prune_api")


@dataclass(slots=True)
class Maintained:
    """What one call did. Not `complete`: time was up, or a lock not to be had; call again soon."""

    created: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    deleted_runs: int = 0
    deleted_logs: int = 0
    deleted_ticks: int = 0
    deleted_stats: int = 0
    deleted_workers: int = 0
    deleted_worker_minutes: int = 0
    deleted_operations: int = 0
    settled_keys: int = 0
    deleted_resolutions: int = 0
    deleted_audit: int = 0
    deleted_answers: int = 0
    deleted_tokens: int = 0
    deleted_rates: int = 0
    complete: bool = True


def maintain(connection: psycopg.Connection[Any]) -> Maintained:
    """Creates the partitions of the coming days and removes what is past its retention.

    `connection` must not be in a transaction. Never waits over 300 ms for a lock, nor deletes for
    much over five seconds. Workers that call it at the same time take turns.
    """
    done = Maintained()
    for step in (_create_ahead, _expire, _delete_spent_keys, _prune_api):
        try:
            step(connection, done)
        except (_TimeUpError, errors.LockNotAvailable):
            done.complete = False
    return done


def _expire(connection: psycopg.Connection[Any], done: Maintained) -> None:
    # First: whether a job completed, and so goes on holding its unique key, its history alone knows.
    _settle_keys(connection, done, ["until_success"])
    try:
        _drop_expired(connection, done)
    except errors.LockNotAvailable:
        done.complete = False
    _delete_expired(connection, done)


def _delete_spent_keys(connection: psycopg.Connection[Any], done: Maintained) -> None:
    _settle_keys(connection, done, ["waiting", "active", "always"])


class _TimeUpError(Exception):
    """The rest is left to the next call."""


class _Retention(NamedTuple):
    """The database's clock, and the days that things are kept; None is for ever."""

    now: datetime
    runs: float | None
    stats: float | None
    workers: float | None

    def before(self, days: float | None) -> datetime | None:
        """The instant before which things kept for so many days have expired."""
        return None if days is None else self.now - timedelta(days=min(max(days, 0), MAX_DAYS))


def _create_ahead(connection: psycopg.Connection[Any], done: Maintained) -> None:
    free_from = datetime.min.replace(tzinfo=UTC)
    while True:
        with _turn(connection) as cursor:
            retention = _retention(cursor)
            weekly = retention.runs is None or retention.runs > WEEKLY_BEYOND
            today = retention.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            ends = [ends_at for _, ends_at in cursor.execute(_PARTITIONS)]
            begins_at = max(today, free_from, *ends)
            ends_at = begins_at + (WEEK if weekly else DAY)
            if begins_at > retention.now + (WEEK_AHEAD if weekly else DAYS_AHEAD):
                return
            (name,) = _row(cursor.execute(_ADD, {"begins_at": begins_at, "ends_at": ends_at}))
        if name is None:
            # Runs of the range came before its partition, and stay where they are.
            free_from = begins_at + DAY
            continue
        done.created.append(name)


def _drop_expired(connection: psycopg.Connection[Any], done: Maintained) -> None:
    while True:
        with _turn(connection) as cursor:
            (name,) = _row(cursor.execute(_DROP_EXPIRED))
        if name is None:
            return
        done.dropped.append(name)


def _delete_expired(connection: psycopg.Connection[Any], done: Maintained) -> None:
    with _turn(connection) as cursor:
        retention = _retention(cursor)
    deadline = time.monotonic() + SECONDS
    runs, stats = retention.before(retention.runs), retention.before(retention.stats)
    workers = retention.before(retention.workers)
    for rows in _delete(connection, _PRUNE_DEFAULT_RUNS, runs, deadline):
        done.deleted_runs += rows
    for rows in _delete(connection, _PRUNE_STATS, stats, deadline):
        done.deleted_stats += rows
    for rows in _delete(connection, _PRUNE_WORKERS, workers, deadline):
        done.deleted_workers += rows
    for rows in _delete(connection, _PRUNE_WORKER_MINUTES, workers, deadline):
        done.deleted_worker_minutes += rows
    for rows in _delete(connection, _PRUNE_OPERATIONS, runs, deadline):
        done.deleted_operations += rows
    for rows in _delete(connection, _PRUNE_TICKS, runs, deadline):
        done.deleted_ticks += rows
    for rows in _delete(connection, _PRUNE_LOGS, runs, deadline):
        done.deleted_logs += rows
    for rows in _delete(connection, _PRUNE_RESOLUTIONS, runs, deadline):
        done.deleted_resolutions += rows


def _settle_keys(connection: psycopg.Connection[Any], done: Maintained, scopes: list[str]) -> None:
    deadline = time.monotonic() + SECONDS
    keys: list[str] | None = None
    while keys is None or len(keys) == BATCH:
        if keys is not None and time.monotonic() >= deadline:
            raise _TimeUpError
        with _turn(connection) as cursor:
            keys = [key for (key,) in cursor.execute(_LOCK_SPENT_KEYS, {"scopes": scopes, "limit": BATCH})]
            if keys:
                done.settled_keys += sum(_row(cursor.execute(_SETTLE_KEYS, {"keys": keys})))


def _prune_api(connection: psycopg.Connection[Any], done: Maintained) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        with _turn(connection) as cursor:
            deleted = _row(cursor.execute(_PRUNE_API, {"limit": BATCH}))
        done.deleted_audit += deleted[0]
        done.deleted_answers += deleted[1]
        done.deleted_tokens += deleted[2]
        done.deleted_rates += deleted[3]
        if max(deleted) < BATCH:
            return
        if time.monotonic() >= deadline:
            raise _TimeUpError


def _delete(
    connection: psycopg.Connection[Any],
    statement: bytes,
    before: datetime | None,
    deadline: float,
) -> Iterator[int]:
    """Deletes what is older (nothing for None) in batches, and says after each how many rows went."""
    rows = BATCH
    while rows == BATCH:
        with _turn(connection) as cursor:
            rows = cursor.execute(statement, {"before": before, "limit": BATCH}).rowcount
        yield rows
        if rows == BATCH and time.monotonic() >= deadline:
            raise _TimeUpError


@contextmanager
def _turn(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Cursor[TupleRow]]:
    """A transaction of upkeep, while no other worker is in one."""
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_BEGIN)
        yield cursor


def _retention(cursor: psycopg.Cursor[TupleRow]) -> _Retention:
    return _Retention(*_row(cursor.execute(_RETENTION)))


def _row(cursor: psycopg.Cursor[TupleRow]) -> TupleRow:
    row = cursor.fetchone()
    assert row is not None
    return row
