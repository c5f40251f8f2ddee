"""Settling what the loss of a connection left open: completions that may have arrived, claims whose answer did not."""

from __future__ import annotations

import logging
import time

from pgtask.database.work import WorkConnection
from pgtask.engine.completer import Completer
from pgtask.engine.marks import Marks

log = logging.getLogger("pgtask.exchange")


class Recovery:
    """What is done on a new connection, and behind a pooler once more a little later."""

    def __init__(self, completer: Completer, marks: Marks) -> None:
        self._completer = completer
        self._marks = marks
        self._again_at = float("inf")

    def settle(self, connection: WorkConnection) -> None:
        """Keeps what did not arrive to be sent again, and frees what was claimed unheard."""
        connection.end_predecessor()
        self._completer.resend(connection)
        freed = self._release(connection)
        straggling = connection.fence.straggling
        if straggling:
            self._again_at = time.monotonic() + straggling
        log.info("connected again; %d jobs of an unanswered claim were given back", freed)

    def due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() >= self._again_at

    def pause(self, pause: float | None) -> float | None:
        """`pause`, but no longer than until the time to look again."""
        if self._again_at == float("inf"):
            return pause
        left = max(0.0, self._again_at - time.monotonic())
        return left if pause is None else min(pause, left)

    def look_again(self, connection: WorkConnection) -> None:
        """Frees what a straggler of the lost connection has claimed since; nothing of it can begin any more."""
        freed = self._release(connection)
        self._again_at = float("inf")
        if freed:
            log.info("%d jobs of a late unanswered claim were given back", freed)

    def _release(self, connection: WorkConnection) -> int:
        return connection.release_unanswered([mark[:2] for mark in self._marks.read()])
