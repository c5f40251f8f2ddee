"""The feed: every ended attempt, in an order that skips none, for readers that remember a position.

Each run carries the number of the transaction that wrote it, and only those are told below which none is under
way. So a long transaction that writes, in any database of the cluster, holds the feed back until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import class_row, dict_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import ConsumerNotFoundError, PositionError
from pgtask.model.event import FeedConsumer, FeedEvent, JobEvent

LEASE = 60.0
"""Seconds that a consumer has for a batch before its other sessions may get it."""

_READ = statements.load("read_feed")
_POSITION = statements.load("feed_position")
_CONSUME = statements.load("consume_feed")
_ACKNOWLEDGE = statements.load("acknowledge_feed")
_LIST = statements.load("list_feed_consumers")
_DELETE = statements.load("delete_feed_consumer")
_NOTE = statements.load("note_feed")


def position(connection: Connection, *, at_start: bool = False) -> str:
    """The position from which on all comes that is not settled yet, or all that is kept."""
    with reading(connection), connection.cursor(row_factory=scalar_row) as cursor:
        found = cursor.execute(_POSITION, {"at_start": at_start}).fetchone()
    assert isinstance(found, str)
    return found


def read(connection: Connection, after: str, limit: int = 1000) -> list[FeedEvent]:
    """What follows a position, at most `limit` events and those of the last one's position.

    Raises PositionError for a text that is no position.
    """
    with reading(connection), _checked():
        return _events(connection, _READ, {"after": after, "limit": limit})


def consume(
    connection: Connection, consumer: str, limit: int = 100, *, lease: float = LEASE, from_start: bool = False
) -> list[FeedEvent]:
    """The next events of a named consumer, which is made if there is none: from now on, or from the start.

    Nobody else gets them until they are acknowledged or `lease` seconds are over.
    Raises PositionError for a name that is empty or too long.
    """
    values = {"consumer": consumer, "limit": limit, "lease": lease, "from_start": from_start}
    with in_words(connection), _checked():
        return _events(connection, _CONSUME, values)


def acknowledge(connection: Connection, consumer: str, position: str) -> bool:
    """Says that a consumer has worked off all up to a position; False where it was further already.

    Raises ConsumerNotFoundError, PositionError.
    """
    with in_words(connection), _checked(), connection.cursor(row_factory=scalar_row) as cursor:
        try:
            found = cursor.execute(_ACKNOWLEDGE, {"consumer": consumer, "position": position}).fetchone()
        except errors.UndefinedObject:
            raise ConsumerNotFoundError(consumer, []) from None
    return bool(found)


def consumers(connection: Connection) -> list[FeedConsumer]:
    """All named consumers, by name."""
    with reading(connection), connection.cursor(row_factory=class_row(FeedConsumer)) as cursor:
        return cursor.execute(_LIST).fetchall()


def drop(connection: Connection, consumer: str) -> None:
    """Forgets a named consumer. Raises ConsumerNotFoundError."""
    with in_words(connection):
        gone = connection.execute(_DELETE, {"name": consumer}).fetchone()
    if gone is None:
        raise ConsumerNotFoundError(consumer, [known.name for known in consumers(connection)])


def note(connection: Connection) -> None:
    """Notes how far transactions are numbered, so that a restore into another cluster is noticed."""
    connection.execute(_NOTE)


def _events(connection: Connection, statement: bytes, values: dict[str, Any]) -> list[FeedEvent]:
    with connection.cursor(row_factory=_row) as cursor:
        return cursor.execute(statement, values).fetchall()


def _row(cursor: psycopg.Cursor[Any]) -> Callable[[Any], FeedEvent]:
    make = dict_row(cursor)

    def event(values: Any) -> FeedEvent:
        row = make(values)
        at, kind = row.pop("position"), row.pop("event")
        return FeedEvent(at, None, row["error"]) if kind == "reset" else FeedEvent(at, JobEvent(**row))

    return event


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except errors.InvalidParameterValue as error:
        reason = error.diag.message_primary or "This is refused"
        raise PositionError(f"{reason[0].upper()}{reason[1:]}.") from error
    except errors.CheckViolation as error:
        raise PositionError("The name of a consumer has 1 to 128 bytes.") from error
