"""Circuit breakers: when a task's jobs are held because too many of them fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pgtask.model.duration import parse_duration
from pgtask.model.errors import TaskError

Duration = float | str | timedelta


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens a task's circuit after `failures` attempts in a row that failed, or when of at least `minimum` attempts in
    `window` the share `rate` failed; in the whole fleet.

    An open circuit holds the task's jobs, uncharged, for `hold`. Then one job probes: its success closes the circuit,
    its failure opens it for twice as long, up to `max_hold`. Durations are seconds, timedeltas or texts such as "30s",
    kept as seconds. Raises TaskError for what makes no sense.
    """

    failures: int | None = None
    rate: float | None = None
    window: Duration = 60.0
    minimum: int = 20
    hold: Duration = 30.0
    max_hold: Duration = 900.0

    def __post_init__(self) -> None:
        if self.failures is None and self.rate is None:
            raise TaskError("A breaker opens by failures or by rate: write Breaker(failures=5) or Breaker(rate=0.5)")
        if self.failures is not None and (type(self.failures) is not int or self.failures < 1):
            raise TaskError(f"Breaker: failures={self.failures!r} means nothing: give a whole number from 1 on")
        if self.rate is not None and (isinstance(self.rate, bool) or not 0 < self.rate <= 1):
            raise TaskError(f"Breaker: rate={self.rate!r} is no share: write 0.5 for one half")
        if type(self.minimum) is not int or self.minimum < 1:
            raise TaskError(f"Breaker: minimum={self.minimum!r} means nothing: give a whole number from 1 on")
        for name in ("window", "hold", "max_hold"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if parse_duration(self.max_hold) < parse_duration(self.hold):
            raise TaskError(f"Breaker: max_hold ({self.max_hold} s) is shorter than hold ({self.hold} s)")

    def columns(self) -> dict[str, Any]:
        """Its columns in the table tasks."""
        by_rate = self.rate is not None
        return {
            "breaker_failures": self.failures,
            "breaker_rate": self.rate,
            "breaker_window": self.window if by_rate else None,
            "breaker_minimum": self.minimum if by_rate else None,
            "breaker_hold": self.hold,
            "breaker_max_hold": self.max_hold,
        }


def _seconds(name: str, value: Duration) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise TaskError(f"Breaker: {name}: {error}") from None
    if seconds <= 0:
        raise TaskError(f"Breaker: {name} must be longer than 0 s")
    return seconds


NO_BREAKER: dict[str, Any] = dict.fromkeys(Breaker(failures=1).columns())
"""The columns of a task without one."""
