"""What came of the runs in a span of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Ended attempts by what came of them, with the time they ran and waited, in seconds."""

    completed: int = 0
    failed: int = 0
    """Failed for good."""
    retried: int = 0
    """Failed, and tried again."""
    cancelled: int = 0
    lost: int = 0
    run_seconds: float = 0.0
    wait_seconds: float = 0.0
    max_run_seconds: float = 0.0
    max_wait_seconds: float = 0.0

    @property
    def attempts(self) -> int:
        """Attempts that ran to an end of their own; the sums of seconds are over these."""
        return self.completed + self.failed + self.retried

    @property
    def error_rate(self) -> float | None:
        """Share of the attempts that failed; None when there was none."""
        return (self.failed + self.retried) / self.attempts if self.attempts else None

    @property
    def average_run(self) -> float | None:
        """Seconds an attempt took; None when there was none."""
        return self.run_seconds / self.attempts if self.attempts else None

    @property
    def average_wait(self) -> float | None:
        """Seconds from due to started; None when there was no attempt."""
        return self.wait_seconds / self.attempts if self.attempts else None

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            completed=self.completed + other.completed,
            failed=self.failed + other.failed,
            retried=self.retried + other.retried,
            cancelled=self.cancelled + other.cancelled,
            lost=self.lost + other.lost,
            run_seconds=self.run_seconds + other.run_seconds,
            wait_seconds=self.wait_seconds + other.wait_seconds,
            max_run_seconds=max(self.max_run_seconds, other.max_run_seconds),
            max_wait_seconds=max(self.max_wait_seconds, other.max_wait_seconds),
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """All tallies taken together."""
    return reduce(Tally.__add__, tallies, Tally())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Attempts that ended in one slice of a timeline."""

    began_at: datetime
    completed: int
    unsuccessful: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The runs of the last `window` seconds, in all, by queue and by task, and along time."""

    window: float
    total: Tally
    by_queue: dict[str, Tally]
    by_task: dict[str, Tally]
    timeline: list[Bucket]

    def rate(self, tally: Tally) -> float:
        """Attempts per second over the window."""
        return tally.attempts / self.window
