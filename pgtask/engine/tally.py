"""What came of attempts of tasks with a breaker, for the database to decide about their circuits.

Failures are handed in with the batch that they end in, successes about once a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from pgtask.database.outcomes import Report
from pgtask.engine.attempt import COMMITTED, SUPERSEDED, Attempt

_EVERY = 1.0
_CHARGED = frozenset({"failed", "timeout"})
# For the database: what it will find is that a probe of these runs no more.
_TOLD = {COMMITTED: "completed", SUPERSEDED: "lost"}


class Tally:
    """Counts attempts by task; used by one thread."""

    def __init__(self, tasks: Iterable[str] = ()) -> None:
        """`tasks` are those with a breaker; of others nothing is counted."""
        self._tasks = frozenset(tasks)
        # Successes, failures, and failures since the last success.
        self._counts: dict[str, list[int]] = {}
        self._urgent = False
        self._taken_at = float("-inf")

    def count(self, attempts: Iterable[Attempt]) -> None:
        """Counts attempts, in the order in which they ended, each once."""
        if not self._tasks:
            return
        for attempt in attempts:
            if attempt.task in self._tasks:
                if attempt.outcome in _CHARGED:
                    self._add(attempt.task, 0, 1, 1)
                elif attempt.outcome in ("completed", COMMITTED):
                    self._add(attempt.task, 1, 0, 0)

    def _add(self, task: str, successes: int, failures: int, streak: int) -> None:
        counts = self._counts.setdefault(task, [0, 0, 0])
        counts[0] += successes
        counts[1] += failures
        counts[2] = streak if successes else counts[2] + streak
        self._urgent = self._urgent or failures > 0

    def report(self, batch: Iterable[Attempt]) -> Report | None:
        """What to hand in with a batch: what is due, and the ends of attempts that may be probes; None for nothing."""
        probes = [attempt for attempt in batch if attempt.limited]
        now = time.monotonic()
        counts: dict[str, list[int]] = {}
        if self._counts and (self._urgent or now >= self._taken_at + _EVERY):
            counts, self._counts = self._counts, {}
            self._urgent, self._taken_at = False, now
        if not counts and not probes:
            return None
        return Report(
            tasks=list(counts),
            successes=[count[0] for count in counts.values()],
            failures=[count[1] for count in counts.values()],
            streaks=[count[2] for count in counts.values()],
            ids=[attempt.id for attempt in probes],
            attempts=[attempt.attempt for attempt in probes],
            outcomes=[_TOLD.get(attempt.outcome, attempt.outcome) for attempt in probes],
        )

    def restore(self, report: Report) -> None:
        """Takes back counts that could not be handed in; what is newer comes after them."""
        newer, self._counts = self._counts, {}
        for task, *counts in zip(report.tasks, report.successes, report.failures, report.streaks, strict=True):
            self._add(task, *counts)
        for task, counts in newer.items():
            self._add(task, *counts)

    def pause(self, pause: float | None) -> float | None:
        """A pause in seconds, shortened so that counts are not late."""
        if not self._counts:
            return pause
        left = max(0.0, self._taken_at + _EVERY - time.monotonic())
        return left if pause is None else min(pause, left)
