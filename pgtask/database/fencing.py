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


class Fence:
    """Fences each transaction of an executor's connection, if that is a pooled one and `on`.

    `straggling` is for how many seconds what an earlier connection has sent may still begin: 0.0 without a pooler.
    """

    def __init__(self, connection: psycopg.Connection[Any], worker_id: int, executor: int, *, on: bool = True) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._executor = executor
        self.straggling = 0.0
        if on and isinstance(connection, PooledConnection):
            row = connection.execute(_INSTANT, {"delay": 0.0}).fetchone()
            assert row is not None
            self.heard(row[0])
            self.straggling = STRAGGLING
            connection.guard = self._guard

    def heard(self, instant: datetime) -> None:
        """Takes in what the server's clock showed a moment ago, lest the two clocks drift apart over days.

        The answer's way makes our idea of it slow, never fast: nothing is given longer than it may have.
        """
        self._clock = instant, time.monotonic()

    def _guard(self) -> None:
        instant, heard_at = self._clock
        before = instant + timedelta(seconds=time.monotonic() - heard_at + BEGINS_WITHIN)
        fence(self._connection, self._worker_id, self._executor, before)
