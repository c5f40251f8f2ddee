"""What holds a task's jobs back in the whole fleet, as its code declares it: a rate and a breaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgtask.model.breaker import NO_BREAKER, Breaker
from pgtask.model.rate import Rate


@dataclass(frozen=True, slots=True)
class Pace:
    """None leaves the starts without a limit, and the jobs going however many of them fail."""

    rate: Rate | None = None
    breaker: Breaker | None = None

    @classmethod
    def checked(cls, rate_limit: str | None, rate_burst: int | None, breaker: Breaker | None) -> Pace:
        """What was declared. Raises ValueError for what makes no sense."""
        if rate_limit is None and rate_burst is not None:
            raise ValueError('rate_burst belongs to a rate_limit such as "100/min"')
        if breaker is not None and not isinstance(breaker, Breaker):
            raise ValueError(f"{breaker!r} is no breaker: write breaker=Breaker(failures=5)")
        return cls(None if rate_limit is None else Rate.parse(rate_limit, rate_burst), breaker)

    def columns(self) -> dict[str, Any]:
        """Its columns in the table tasks."""
        rate = self.rate
        return {
            "rate_limit": rate and rate.limit,
            "rate_period": rate and rate.period,
            "rate_burst": rate and rate.burst,
            **(self.breaker.columns() if self.breaker else NO_BREAKER),
        }
