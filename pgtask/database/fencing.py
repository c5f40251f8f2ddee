"""Keeping an executor's transactions apart where a pooler hides which server process works for whom.

After a lost connection somebody has to know when nothing more of it can happen: its executor, which looks for what it
claimed unheard, or the supervisor, when the executor has died. Without a pooler its server process is found by name and
ended. Behind one the name is not to be trusted, as the process may work for somebody else by now. There, each
transaction of an executor begins with a lock that is the executor's own, so whoever looks under that lock sees all that
had begun. What lies unsent in the pooler has not begun yet; it changes nothing once BEGINS_WITHIN has passed since it
was sent. So those who looked before look once more, STRAGGLING seconds after the loss.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import psycopg

from pgtask.database import statements
from pgtask.database.pooled import PooledConnection

_FENCE = statements.load("fence_executor")
_INSTANT = statements.load("current_instant")

BEGINS_WITHIN = 10.0
_CLOCK_MARGIN = 1.0
STRAGGLING = BEGINS_WITHIN + _CLOCK_MARGIN


def fence(connection: psycopg.Connection[Any], worker_id: int, executor: int, before: datetime | None = None) -> None:
    """Waits until no other transaction of the executor is open, and holds back new ones until this one ends.

    If that is later than `before`, this transaction may change nothing.
    """
    connection.execute(_FENCE, {"worker_id": worker_id, "executor": executor, "before": before})


def fence_all(connection: psycopg.Connection[Any], worker_id: int, executor: int) -> float:
    """Fences each transaction of an executor's connection, if it is a pooled one.

    Returns for how many seconds what an earlier connection has sent may still begin: 0.0 without a pooler.
    """
    if not isinstance(connection, PooledConnection):
        return 0.0
    (instant,) = connection.execute(_INSTANT, {"delay": 0.0}).fetchone() or (None,)
    assert isinstance(instant, datetime)
    # The answer's way makes our idea of the server's clock slow, never fast: nothing is given longer than it may have.
    heard_at = time.monotonic()

    def guard() -> None:
        passed = time.monotonic() - heard_at
        fence(connection, worker_id, executor, instant + timedelta(seconds=passed + BEGINS_WITHIN))

    connection.guard = guard
    return STRAGGLING
