"""What a check-up looks at: the server, the way to it, the schema, and jobs that nobody will run.

Each look is a read-only transaction of its own that ends within LOOK_TIMEOUT and waits half a second for a lock at
most, so that a check-up of a sick database does not make it sicker. What this role may not see, or not in time, raises
NotSeenError, and the other looks go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.rows import class_row, dict_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection, connect, one_line, translate_errors
from pgtask.model.errors import NotSeenError
from pgtask.model.feed_checks import FeedFact
from pgtask.model.fleet_checks import UnknownTask
from pgtask.model.schema_checks import (
    DEFAULT_CAP,
    GrantFacts,
    IndexFacts,
    PartitionFacts,
    SequenceFacts,
    TableFacts,
)
from pgtask.model.server_checks import Holder, Route, ServerFacts

LOOK_TIMEOUT = 2.0

DEPTH, MOST = 1000, 50_000
"""Jobs of a lane, and in all, whose tasks are looked up."""

_BEGIN = statements.load("begin_reading")
_LIMIT = statements.load("limit_inspecting")
_SERVER = statements.load("inspect_server")
_SETTINGS = statements.load("inspect_settings")
_HORIZON = statements.load("inspect_horizon")
_TABLES = statements.load("inspect_tables")
_INDEXES = statements.load("inspect_indexes")
_SEQUENCES = statements.load("inspect_sequences")
_GRANTS = statements.load("inspect_grants")
_PARTITIONS = statements.load("list_partitions")
_RETENTION = statements.load("read_retention")
_DEFAULT_RUNS = statements.load("count_default_runs")
_FEED = statements.load("inspect_feed")
_UNKNOWN_TASKS = statements.load("find_unknown_tasks")
_BACKEND = statements.load("read_backend")

Facts = TypeVar("Facts")


def read_server(connection: Connection) -> ServerFacts:
    """The server as a whole."""
    with _looking(connection), connection.cursor(row_factory=tuple_row) as cursor:
        settings = {str(name): str(value) for name, value in cursor.execute(_SETTINGS)}
        with connection.cursor(row_factory=dict_row) as row_cursor:
            (row,) = row_cursor.execute(_SERVER)
    return ServerFacts(settings=settings, **row)


def read_horizon(connection: Connection) -> tuple[list[Holder], int]:
    """What keeps dead rows from being removed, and how many sessions this role may not look into."""
    rows = _rows(connection, Holder, _HORIZON)
    holders = [row for row in rows if row.kind != "hidden"]
    return holders, len(rows) - len(holders)


def read_tables(connection: Connection) -> list[TableFacts]:
    """The tables of the schema, by name."""
    return _rows(connection, TableFacts, _TABLES)


def read_indexes(connection: Connection) -> list[IndexFacts]:
    """The indexes of the schema."""
    return _rows(connection, IndexFacts, _INDEXES)


def read_sequences(connection: Connection) -> list[SequenceFacts]:
    """The sequences that hand out ids."""
    return _rows(connection, SequenceFacts, _SEQUENCES)


def read_grants(connection: Connection) -> GrantFacts:
    """What the current role may do."""
    (grants,) = _rows(connection, GrantFacts, _GRANTS)
    return grants


def read_partitions(connection: Connection) -> PartitionFacts:
    """The partitions of the runs."""
    with _looking(connection), connection.cursor(row_factory=tuple_row) as cursor:
        ends = [ends_at for _, ends_at in cursor.execute(_PARTITIONS)]
        now, days, *_ = cursor.execute(_RETENTION).fetchone() or (None, None)
        assert now is not None
    return PartitionFacts(now=now, ends=ends, retention_days=days, in_default=_default_runs(connection))


def _default_runs(connection: Connection) -> int | None:
    try:
        with _looking(connection), connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(_DEFAULT_RUNS, {"cap": DEFAULT_CAP}).fetchone()
    except NotSeenError:
        return None


def read_feed(connection: Connection) -> list[FeedFact]:
    """What bears on the feed."""
    return _rows(connection, FeedFact, _FEED)


def find_unknown_tasks(connection: Connection) -> list[UnknownTask]:
    """Tasks of due jobs that no live worker knows, of the jobs that are looked at."""
    return _rows(connection, UnknownTask, _UNKNOWN_TASKS, {"depth": DEPTH, "most": MOST})


def read_route(url: str, connection: Connection, application_name: str, *, pooled: bool = False) -> Route:
    """What lies between here and the server: asks twice on this connection and on a second one.

    A transaction pooler hands the server process that one of them leaves idle to the other, or gives one connection
    several. Any pooler tells clients another process id than the server's own.
    """
    with translate_errors(url):
        first, offset, trip = _backend(connection)
        with closing(connect(url, application_name=application_name, statement_timeout=None, pooled=pooled)) as other:
            second, *_ = _backend(other)
            again = _backend(connection), _backend(other)
            steady = [pid for pid, *_ in again] == [first, second]
        best = min([(trip, offset), *((trip, offset) for _, offset, trip in again)])
    return Route(
        pooled=not steady or first == second,
        indirect=connection.info.backend_pid != first,
        clock_offset=best[1],
        round_trip=best[0],
    )


def _backend(connection: Connection) -> tuple[int, float, float]:
    """The server process, how far its clock is ahead of ours, and the seconds that asking took."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        asked, begun = time.time(), time.monotonic()
        pid, clock = cursor.execute(_BACKEND, prepare=False).fetchone() or (0, None)
        trip = time.monotonic() - begun
    assert clock is not None
    return pid, clock.timestamp() - (asked + trip / 2), trip


def _rows(
    connection: Connection, kind: type[Facts], query: bytes, arguments: dict[str, Any] | None = None
) -> list[Facts]:
    with _looking(connection), connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, arguments, prepare=False).fetchall()


@contextmanager
def _looking(connection: Connection) -> Iterator[None]:
    try:
        with translate_errors(connection.info.dsn), connection.transaction():
            connection.execute(_BEGIN)
            connection.execute(_LIMIT, {"milliseconds": f"{LOOK_TIMEOUT * 1000:.0f}"})
            yield
    except errors.InsufficientPrivilege as error:
        raise NotSeenError(f"this role may not see it ({one_line(error)})") from error
    except errors.QueryCanceled as error:
        raise NotSeenError(f"it took longer than {LOOK_TIMEOUT:g} s to see") from error
    except errors.LockNotAvailable as error:
        raise NotSeenError("it is locked by a transaction that changes the schema") from error
    except psycopg.Error as error:
        raise NotSeenError(f"PostgreSQL refused: {one_line(error)}") from error
