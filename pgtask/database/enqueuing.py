"""Enqueueing by a task's name alone, with the defaults that the task has registered."""

from __future__ import annotations

import json
from datetime import datetime
from typing import NamedTuple

from psycopg import errors
from psycopg.rows import class_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words
from pgtask.model.errors import PayloadError, QueueFull

_ENQUEUE = statements.load("enqueue_by_name")

# The SQLSTATE with which pgtask.enqueue() refuses; its detail is JSON.
_QUEUE_FULL = "PT429"


class EnqueuedByName(NamedTuple):
    """A job's id, and whether it was made now or held the unique key."""

    id: int
    created: bool


def enqueue_by_name(
    connection: Connection,
    task: str,
    payload: str,
    *,
    queue: str | None = None,
    priority: int | None = None,
    delay: float | None = None,
    scheduled_at: datetime | None = None,
    unique_key: str | None = None,
    max_retries: int | None = None,
    timeout: float | None = None,
    tags: tuple[str, ...] = (),
    concurrency_key: str | None = None,
    expires: float | None = None,
) -> EnqueuedByName:
    """Enqueues a job; what is None comes from its task. `payload` is the text of a JSON object.

    Raises PayloadError when the database refuses a value, QueueFull when the queue takes no more.
    """
    values = {
        "task": task,
        "payload": payload,
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "scheduled_at": scheduled_at,
        "unique_key": unique_key,
        "max_retries": max_retries,
        "timeout": timeout,
        "tags": list(tags) or None,
        "concurrency_key": concurrency_key,
        "expires": expires,
    }
    with in_words(connection), connection.cursor(row_factory=class_row(EnqueuedByName)) as cursor:
        try:
            row = cursor.execute(_ENQUEUE, values).fetchone()
        except (errors.DataError, errors.CheckViolation, errors.ProgramLimitExceeded) as error:
            message, hint = error.diag.message_primary or str(error), error.diag.message_hint
            raise PayloadError(f"The job was refused: {message}." + (f" {hint}" if hint else "")) from error
        except errors.DatabaseError as error:
            if error.sqlstate != _QUEUE_FULL:
                raise
            raise QueueFull(**json.loads(error.diag.message_detail or "")) from error
    assert row is not None
    return row
