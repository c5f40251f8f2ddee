"""How many jobs an executor should hold.

It holds what it expects to start within HORIZON, judged by how long jobs of each task took lately. Of a task it has
never run it fetches no more than it can start at once, so long jobs are never hoarded and tiny ones fly.
"""

from __future__ import annotations

from collections.abc import Iterable

HORIZON = 0.1
MAX_PREFETCH = 1000
MAX_CLAIM = 500
# What a job costs beside its handler; also keeps the division sane.
_OVERHEAD = 0.00002
_UNKNOWN = 10.0
_WEIGHT = 0.3


class Prefetch:
    """Estimates run times per task and decides how many jobs to claim."""

    def __init__(self, slots: int, horizon: float = HORIZON) -> None:
        """A `horizon` of 0 seconds fetches nothing ahead."""
        self._slots = slots
        self._horizon = horizon
        self._seconds: dict[str, float] = {}
        self._expected = _UNKNOWN

    def resize(self, slots: int) -> None:
        """There are so many slots from now on."""
        self._slots = slots

    def observe(self, task: str, seconds: float, count: int) -> None:
        """Learns that `count` jobs of a task took `seconds` together."""
        mean = seconds / count
        known = self._seconds.get(task)
        self._seconds[task] = mean if known is None else known + _WEIGHT * (mean - known)
        if self._expected >= _UNKNOWN:
            self._expected = self._seconds[task]

    def claimed(self, tasks: Iterable[str]) -> None:
        """Learns which tasks the jobs of the last claim were of: the next ones are likely alike."""
        total, count = 0.0, 0
        for task in tasks:
            total += self._seconds.get(task, _UNKNOWN)
            count += 1
        if count:
            mean = total / count
            weight = max(_WEIGHT, min(1.0, count / 100))
            self._expected += weight * (mean - self._expected)

    def stalled(self, tasks: Iterable[str], seconds: float) -> None:
        """Learns that jobs have run for `seconds` without an end in sight, so what waits behind them will wait on."""
        for task in tasks:
            self._seconds[task] = max(self._seconds.get(task, 0.0), seconds)
        self._expected = max(self._expected, seconds)

    def spare(self, taken: int) -> int:
        """How many slots are left when so many are taken."""
        return max(0, self._slots - taken)

    def wanted(self, unfinished: int) -> int:
        """How many jobs to claim now, with so many in hand that have not ended; 0 until a claim is worth its while."""
        free = max(0, self._slots - unfinished)
        ahead = min(MAX_PREFETCH, int(self._slots * self._horizon / (self._expected + _OVERHEAD)))
        missing = ahead - max(0, unfinished - self._slots)
        if not free and missing * 2 < ahead:
            return 0
        return min(MAX_CLAIM, max(free, missing))
