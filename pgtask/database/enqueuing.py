"""Enqueueing by a task's name alone, with the defaults that the task has registered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg import errors
from psycopg.rows import class_row

from pgtask.database import statements
from pgtask.database.admission import queue_full
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words
from pgtask.model.errors import PayloadError, UniqueConflictError

_ENQUEUE = statements.load("enqueue_unique")

REFUSALS = (errors.DataError, errors.CheckViolation, errors.ProgramLimitExceeded, errors.UniqueViolation)
"""What says that the job itself is at fault."""


class EnqueuedByName(NamedTuple):
    """A job's id, and whether it was `created` now, or held the unique key and was `held` (left as it is), `replaced`
    or `rescheduled`."""

    id: int
    answer: str

    @property
    def created(self) -> bool:
        """Whether it was made now."""
        return self.answer == "created"


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
    retry_strategy: str | None = None,
    retry_delay: float | None = None,
    max_retry_delay: float | None = None,
    timeout: float | None = None,
    tags: Sequence[str] = (),
    traceparent: str | None = None,
    unique_by: Sequence[str] | None = None,
    unique_scope: str | None = None,
    unique_window: float | None = None,
    on_conflict: str | None = None,
    max_wait: float | None = None,
    concurrency_key: str | None = None,
    start_by: datetime | None = None,
    expires: float | None = None,
) -> EnqueuedByName:
    """Enqueues a job; what is None comes from its task. `payload` is the text of a JSON object.

    Raises PayloadError when the database refuses a value, QueueFull when the queue takes no more, UniqueConflictError
    when another job holds the unique key and `on_conflict` is "error".
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
        "retry_strategy": retry_strategy,
        "retry_delay": retry_delay,
        "max_retry_delay": max_retry_delay,
        "timeout": timeout,
        "tags": list(tags) or None,
        "traceparent": traceparent,
        "unique_by": None if unique_by is None else list(unique_by),
        "unique_scope": unique_scope,
        "unique_window": unique_window,
        "on_conflict": "skip" if on_conflict == "error" else on_conflict,
        "max_wait": max_wait,
        "concurrency_key": concurrency_key,
        "start_by": start_by,
        "expires": expires,
    }
    with in_words(connection), connection.cursor(row_factory=class_row(EnqueuedByName)) as cursor:
        try:
            row = cursor.execute(_ENQUEUE, values).fetchone()
        except REFUSALS as error:
            raise refused(error) from error
        except errors.DatabaseError as error:
            full = queue_full(error)
            if full is None:
                raise
            raise full from error
    assert row is not None
    if on_conflict == "error" and not row.created:
        raise UniqueConflictError(row.id)
    return row


def refused(error: errors.Error) -> PayloadError:
    """What PostgreSQL says against a job, in a sentence."""
    message, hint = error.diag.message_primary or str(error), error.diag.message_hint
    return PayloadError(f"The job was refused: {message}." + (f" {hint}" if hint else ""))
