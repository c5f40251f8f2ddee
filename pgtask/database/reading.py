"""How operators' statements run: reads see one instant and end in time, refusals come in words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row
from psycopg.types.json import set_json_loads

from pgtask.database import statements
from pgtask.database.connection import Connection, one_line, translate_errors
from pgtask.model.errors import BusyError, DatabaseTroubleError, PgTaskError, TimeLimitError
from pgtask.model.job import JobRecord

_BEGIN = statements.load("begin_reading")
_LIMIT = statements.load("limit_reading")

READ_TIMEOUT = 5.0

_SURELY_FINITE = 300
"""Bytes of JSON below which no number is beyond floats, as PostgreSQL writes all digits of each."""

# What is the server's own fault: resources (a full disk), its system, its configuration, its insides, damaged data.
_TROUBLE = frozenset({"53", "58", "F0", "XX"})

# Where connections lead to: one that is lost cannot be asked any more, and asking each time costs as much as a
# statement.
_dsns: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()


def job_cursor(connection: Connection) -> psycopg.Cursor[JobRecord]:
    """A cursor for rows of all_jobs. For a payload that Python cannot decode, which must not spoil a list, its text
    stands in."""
    cursor = connection.cursor(row_factory=class_row(JobRecord))
    set_json_loads(_decode, cursor)
    return cursor


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]}… is larger than any float")
    return number


def _decode(data: str | bytes) -> Any:
    try:
        return json.loads(data) if len(data) < _SURELY_FINITE else json.loads(data, parse_float=_finite)
    except (ValueError, RecursionError):
        return bytes(data).decode() if not isinstance(data, str) else data


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A read-only transaction at one instant, in which no statement takes longer than READ_TIMEOUT.

    In a transaction of the caller's it reads there, so that what was just changed is seen. Raises TimeLimitError.
    """
    if connection.info.transaction_status == TransactionStatus.INTRANS:
        with in_words(connection):
            yield
        return
    with in_words(connection), connection.transaction():
        connection.execute(_BEGIN)
        connection.execute(_LIMIT, {"milliseconds": f"{READ_TIMEOUT * 1000:.0f}"})
        try:
            yield
        except errors.QueryCanceled as error:
            raise TimeLimitError(
                f"This took longer than {READ_TIMEOUT:g} s and was stopped. "
                "Ask for less: a status, a queue, a task or a shorter time."
            ) from error


@contextmanager
def in_words(connection: Connection) -> Iterator[None]:
    """Turns what PostgreSQL refuses into errors of pgtask that say it in one line."""
    dsn = _dsns.get(connection)
    if dsn is None:
        with translate_errors(""):
            dsn = _dsns[connection] = connection.info.dsn
    with in_words_of(dsn):
        yield


@contextmanager
def in_words_of(url: str) -> Iterator[None]:
    """`in_words` for whoever knows where the connection leads to; the connection need not be asked then."""
    try:
        with translate_errors(url):
            yield
    except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure) as error:
        raise BusyError("Others are changing the same rows. Nothing was changed: try again.") from error
    except errors.QueryCanceled as error:
        raise TimeLimitError(
            "PostgreSQL stopped this at its time limit, so nothing was changed. "
            "Something else may hold the rows: try again."
        ) from error
    except psycopg.Error as error:
        if (error.sqlstate or "")[:2] in _TROUBLE:
            raise DatabaseTroubleError(f"PostgreSQL is in trouble: {_reason(error)}") from error
        raise PgTaskError(f"PostgreSQL refused: {_reason(error)}") from error


def _reason(error: psycopg.Error) -> str:
    reason = error.diag.message_primary or one_line(error)
    return f"{reason}. {error.diag.message_hint}" if error.diag.message_hint else reason
