"""Claiming suspects, one at a time: jobs that ran beside others when their process died."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from pgtask.database.claims import ClaimedRow
from pgtask.database.work import WorkConnection
from pgtask.engine.claimer import Claimer


class SuspectClaimer(Claimer):
    """Knows no lanes: suspects are few, and an index of their own finds them."""

    within_limits = True

    def __init__(self, queues: Sequence[str] | None, tasks: list[str], poll: float) -> None:
        super().__init__(queues, tasks, poll, listen=False)
        self.hungry = False
        self._look_at = 0.0

    def wake(self) -> None:
        """There may be one."""
        self._look_at = 0.0

    def try_again(self) -> None:
        """A rest is over."""
        self.wake()

    def queues_changed(self) -> None:
        """A queue may have been resumed."""
        self.wake()

    def rewind(self, queue: str, priority: int, instant: datetime) -> None:  # noqa: ARG002 - they have no lanes
        """Jobs were given back."""
        self.wake()

    def look_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() >= self._look_at

    def look(self, connection: WorkConnection, limit: int) -> list[ClaimedRow]:
        """Claims what there is."""
        rows = connection.claim_suspects(self._queues, limit, self.tasks)
        if not rows:
            self._look_at = time.monotonic() + self._poll
        return rows

    def rest(self, connection: WorkConnection) -> float:  # noqa: ARG002 - nobody notifies of suspects
        """How many seconds to wait."""
        return max(0.0, self._look_at - time.monotonic())
