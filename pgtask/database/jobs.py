"""Putting jobs in, and acting on one by its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from pgtask.database import copying, statements
from pgtask.database.admission import queue_full
from pgtask.database.reading import job_cursor
from pgtask.model.dead_letter import DeadLetter
from pgtask.model.errors import JobNotFoundError, JobStateError, PayloadError, QueueFull, UniqueConflictError
from pgtask.model.job import JobRecord, NewJob

_ENQUEUE_ONE = statements.load("enqueue_job")
_ENQUEUE_UNIQUE = statements.load("enqueue_unique")
_ENQUEUE_MANY = statements.load("enqueue_jobs")
_FIND_UNIQUE = statements.load("find_unique_job")
_PAYLOAD_LIMIT = statements.load("payload_limit")
_SIZE_EXCEEDED = statements.load("size_exceeded")
_MAY_CHOOSE_IDS = statements.load("may_choose_ids")
_CANCEL = statements.load("cancel_jobs")
_RETRY = statements.load("retry_jobs")
_READ = statements.load("read_job")
_READ_DEAD_LETTER = statements.load("read_dead_letter")
_FIND_LIVE = statements.load("find_live_among")
_MAY_READ = statements.load("may_read_jobs")

# From here on COPY is faster than one INSERT from a JSON array, by 1.3 to 1.6 times.
COPY_FROM = 5000
# PostgreSQL takes no JSON array over 256 MB.
_COPY_FROM_CHARACTERS = 16 * 1024 * 1024

# What is smaller is not worth the round trip that asks for the limit set.
SURELY_ACCEPTED = 16 * 1024

# What says that the job itself is at fault, including text that is not Unicode, which the driver refuses.
_REFUSALS = (
    psycopg.errors.DataError,
    psycopg.errors.CheckViolation,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.UniqueViolation,
    UnicodeEncodeError,
)


class Enqueued(NamedTuple):
    """The id of a job, and whether it was made now or is the holder of the unique key."""

    id: int
    created: bool


def enqueue(connection: psycopg.Connection[Any], job: NewJob, payload: str) -> Enqueued:
    """Inserts a job on a connection of anyone's, inside its transaction if one is open.

    `payload` is the text of a JSON object. Raises PayloadError when it is too large or a column refuses a value,
    QueueFull when the queue takes no more, UniqueConflictError when another job holds the unique key and that is to be
    an error. Neither spoils the transaction, but for a full queue where the key is no plain `unique_key`.
    """
    arguments = _arguments(job) | {"payload": payload}
    if len(payload) > SURELY_ACCEPTED:
        check_size(payload, _one(connection, _PAYLOAD_LIMIT, {}))
    if not job.is_plain:
        return _enqueued(job, _row(connection, _ENQUEUE_UNIQUE, _unique_arguments(arguments)))
    while True:
        row = _one(connection, _ENQUEUE_ONE, arguments)
        if row is not None:
            return Enqueued(row, created=True)
        row = _one(connection, _FIND_UNIQUE, {"unique_key": job.unique_key})
        if row is not None:
            return Enqueued(row, created=False)
        _check_room(job, 1, _one(connection, _SIZE_EXCEEDED, {"queue": job.queue, "count": 1}))


async def enqueue_async(connection: psycopg.AsyncConnection[Any], job: NewJob, payload: str) -> Enqueued:
    """`enqueue` on an asyncio connection."""
    arguments = _arguments(job) | {"payload": payload}
    if len(payload) > SURELY_ACCEPTED:
        check_size(payload, await _one_async(connection, _PAYLOAD_LIMIT, {}))
    if not job.is_plain:
        return _enqueued(job, await _row_async(connection, _ENQUEUE_UNIQUE, _unique_arguments(arguments)))
    while True:
        row = await _one_async(connection, _ENQUEUE_ONE, arguments)
        if row is not None:
            return Enqueued(row, created=True)
        row = await _one_async(connection, _FIND_UNIQUE, {"unique_key": job.unique_key})
        if row is not None:
            return Enqueued(row, created=False)
        _check_room(job, 1, await _one_async(connection, _SIZE_EXCEEDED, {"queue": job.queue, "count": 1}))


def _unique_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    by, on_conflict = arguments["unique_by"], arguments["on_conflict"]
    # What is an error here is none there: it would spoil the caller's transaction.
    return arguments | {
        "unique_by": None if by is None else list(by),
        "on_conflict": "skip" if on_conflict == "error" else on_conflict,
    }


def _enqueued(job: NewJob, row: tuple[Any, ...] | None) -> Enqueued:
    assert row is not None
    id, answer = row
    if answer != "created" and job.on_conflict == "error":
        raise UniqueConflictError(id)
    return Enqueued(id, created=answer == "created")


def _one(connection: psycopg.Connection[Any], query: bytes, arguments: dict[str, Any]) -> int | None:
    row = _row(connection, query, arguments)
    return None if row is None else row[0]


def _row(connection: psycopg.Connection[Any], query: bytes, arguments: dict[str, Any]) -> tuple[Any, ...] | None:
    # The caller's connection may have factories of its own for rows and cursors.
    cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    try:
        return cursor.execute(query, arguments).fetchone()
    except _REFUSALS as error:
        raise _refused(error) from error
    except psycopg.DatabaseError as error:
        raise (queue_full(error) or error) from error.__cause__


async def _one_async(connection: psycopg.AsyncConnection[Any], query: bytes, arguments: dict[str, Any]) -> int | None:
    row = await _row_async(connection, query, arguments)
    return None if row is None else row[0]


async def _row_async(
    connection: psycopg.AsyncConnection[Any], query: bytes, arguments: dict[str, Any]
) -> tuple[Any, ...] | None:
    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
    try:
        await cursor.execute(query, arguments)
    except _REFUSALS as error:
        raise _refused(error) from error
    except psycopg.DatabaseError as error:
        raise (queue_full(error) or error) from error.__cause__
    return await cursor.fetchone()


def check_size(payload: str, limit: int | None) -> None:
    """Raises PayloadError for a payload that is larger than it may be."""
    if limit is not None and len(payload) > limit:
        raise PayloadError(
            f"The payload has {len(payload)} bytes; the limit is {limit} (setting max_payload_bytes). "
            "Store the data elsewhere and pass a reference to it."
        )


def _check_room(job: NewJob, count: int, exceeded: int | None) -> None:
    if exceeded is not None:
        raise QueueFull(job.queue, exceeded, count)


def _refused(error: psycopg.Error | UnicodeEncodeError) -> PayloadError:
    if isinstance(error, UnicodeEncodeError):
        return PayloadError("The job was refused: a text in its options holds a lone surrogate")
    return PayloadError(f"PostgreSQL refused the job: {error.diag.message_primary or error}")


def enqueue_many(connection: psycopg.Connection[Any], job: NewJob, payloads: Sequence[str]) -> list[int]:
    """Inserts a job for each payload (texts of JSON objects), all or none, and returns their ids in order.

    Long lists go by COPY, unless the role may not choose ids: then by one INSERT after the other.
    Raises PayloadError when one is too large or a column refuses a value, QueueFull when they do not
    all fit in the queue.
    """
    largest = max(payloads, key=len, default="")
    if len(largest) > SURELY_ACCEPTED:
        check_size(largest, _one(connection, _PAYLOAD_LIMIT, {}))
    cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    if not connection.autocommit:
        # Opens the caller's transaction, if none is open: the block below would otherwise open and commit it.
        cursor.execute(b"SELECT")
    try:
        with connection.transaction():
            if not _is_long(payloads):
                return _insert(cursor, job, payloads)
            room = {"queue": job.queue, "count": len(payloads)}
            _check_room(job, len(payloads), _one(connection, _SIZE_EXCEEDED, room))
            if _one(connection, _MAY_CHOOSE_IDS, {}):
                return copying.copy(cursor, job, payloads)
            return [id for part in _parts(payloads) for id in _insert(cursor, job, part)]
    except _REFUSALS as error:
        raise _refused(error) from error


def _is_long(payloads: Sequence[str]) -> bool:
    return len(payloads) >= COPY_FROM or sum(map(len, payloads)) > _COPY_FROM_CHARACTERS


def _parts(payloads: Sequence[str]) -> Iterator[Sequence[str]]:
    """The list in parts that one INSERT can take."""
    start = characters = 0
    for position, payload in enumerate(payloads):
        if position - start == COPY_FROM or (position > start and characters + len(payload) > _COPY_FROM_CHARACTERS):
            yield payloads[start:position]
            start, characters = position, 0
        characters += len(payload)
    yield payloads[start:]


def _insert(cursor: psycopg.Cursor[Any], job: NewJob, payloads: Sequence[str]) -> list[int]:
    room = {"queue": job.queue, "count": len(payloads)}
    arguments = _arguments(job) | {"payloads": f"[{','.join(payloads)}]"} | room
    while True:
        ids = [row[0] for row in cursor.execute(_ENQUEUE_MANY, arguments)]
        if ids or not payloads:
            return ids
        _check_room(job, len(payloads), _one(cursor.connection, _SIZE_EXCEEDED, room))


def _arguments(job: NewJob) -> dict[str, Any]:
    arguments = asdict(job)
    arguments["tags"] = list(job.tags) or None
    return arguments


def read(connection: psycopg.Connection[Any], job_id: int) -> JobRecord:
    """The job as it stands now. Raises JobNotFoundError."""
    with job_cursor(connection) as cursor:
        record = cursor.execute(_READ, {"id": job_id}).fetchone()
    if record is None:
        raise JobNotFoundError(job_id)
    return record


def live_among(connection: psycopg.Connection[Any], ids: Iterable[int]) -> set[int]:
    """Those of these jobs that have not ended."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return {row[0] for row in cursor.execute(_FIND_LIVE, {"ids": list(ids)})}


def read_dead_letter(connection: psycopg.Connection[Any], job_id: int) -> DeadLetter | None:
    """What a live job is a copy of, None for one that is none or that is not live."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_READ_DEAD_LETTER, {"id": job_id}).fetchone()
    return None if row is None or row[0] is None else DeadLetter.decode(row[0])


def payload_limit(connection: psycopg.Connection[Any]) -> int | None:
    """The largest payload to accept, in bytes of JSON text."""
    return _one(connection, _PAYLOAD_LIMIT, {})


def may_read(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database role may read jobs; one that only enqueues may not."""
    return bool(_one(connection, _MAY_READ, {}))


def cancel(connection: psycopg.Connection[Any], job_id: int) -> str:
    """Cancels a job. Returns `cancelled`, `requested` when it runs and was asked to stop, or the final status
    of one that has already ended. Raises JobNotFoundError."""
    return str(_act(connection, _CANCEL, {"ids": [job_id]})[1])


def retry(connection: psycopg.Connection[Any], job_id: int) -> None:
    """Puts a failed, cancelled or quarantined job back with fresh retries.

    Raises JobNotFoundError; JobStateError when it is live or completed, or when another live job holds its unique key.
    """
    _, answer, detail = _act(connection, _RETRY, {"ids": [job_id], "due": None, "spacing": None})
    if answer == "held":
        raise JobStateError(detail)
    if answer == "completed":
        raise JobStateError(f"Job {job_id} is completed. To run it again, enqueue a new job.")
    if answer == "active":
        raise JobStateError(f"Job {job_id} has not ended, so there is nothing to retry.")


def _act(connection: psycopg.Connection[Any], query: bytes, arguments: dict[str, Any]) -> tuple[Any, ...]:
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        row = cursor.execute(query, arguments).fetchone()
    if row is None or row[1] is None:
        raise JobNotFoundError(arguments["ids"][0])
    return row
