"""What waits in queues: how many jobs may, and until when they do."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from pgtask.database import statements
from pgtask.model.errors import QueueFull

_FIND_UNCOUNTED = statements.load("find_uncounted_queues")
_COUNT = statements.load("count_queue")
_EXPIRE = statements.load("expire_jobs")

# The SQLSTATE with which pgtask.enqueue() refuses; its detail is JSON.
_QUEUE_FULL = "PT429"
_BATCH, _BATCHES = 1000, 20


def queue_full(error: psycopg.Error) -> QueueFull | None:
    """What an error of the database says about a full queue, None when it is another one."""
    return QueueFull(**json.loads(error.diag.message_detail or "")) if error.sqlstate == _QUEUE_FULL else None


def count_queues(connection: psycopg.Connection[Any]) -> None:
    """Counts the waiting jobs of the queues whose max_size is too large to count at each enqueue."""
    for (queue,) in connection.execute(_FIND_UNCOUNTED).fetchall():
        connection.execute(_COUNT, {"queue": queue})


def expire_jobs(connection: psycopg.Connection[Any]) -> int:
    """Ends waiting jobs that were not started in time, at most 20,000 of them; returns how many."""
    total = 0
    for _ in range(_BATCHES):
        (ended,) = connection.execute(_EXPIRE, {"limit": _BATCH}).fetchone() or (0,)
        total += ended
        if ended < _BATCH:
            break
    return total
