"""Retry policies: how often and after which backoff a failed job is tried again.

The database applies policies (`end_jobs.sql`), because a policy may come from the job, its task or its
queue and must hold when the code of the task is not at hand. Rules that go by the exception are
applied where it was raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pgtask.model.duration import parse_duration

Strategy = Literal["fixed", "linear", "exponential"]
STRATEGIES: tuple[Strategy, ...] = ("fixed", "linear", "exponential")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A backoff: the n-th retry waits `delay` (fixed), `delay`·n (linear) or `delay`·2^(n-1) seconds
    (exponential), at most `max_delay`, give or take 10 %. None inherits."""

    strategy: Strategy | None = None
    delay: float | None = None
    max_delay: float | None = None

    @classmethod
    def build(
        cls,
        strategy: Strategy,
        delay: float | str | timedelta,
        max_delay: float | str | timedelta | None,
    ) -> RetryPolicy:
        """A policy from durations in any written form. Raises ValueError for a bad one."""
        if strategy not in STRATEGIES:
            raise ValueError(f"unknown retry strategy {strategy!r}: use {', '.join(STRATEGIES)}")
        longest = None if max_delay is None else parse_duration(max_delay)
        return cls(strategy, parse_duration(delay), longest)


Exceptions = type[BaseException] | Iterable[type[BaseException]]


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What a task's code says about its retries beyond the policy.

    An error that is none of `retry_on` (None: any), or is one of `stop_on`, which counts more, is final. The n-th retry
    waits the n-th of `delays`, in seconds, and further ones the last; without any, or where a job has a policy of its
    own, the policy says.
    """

    retry_on: tuple[type[BaseException], ...] | None = None
    stop_on: tuple[type[BaseException], ...] = ()
    delays: tuple[float, ...] = ()

    @classmethod
    def build(
        cls,
        retry_on: Exceptions | None,
        stop_on: Exceptions,
        delays: Iterable[float | str | timedelta],
    ) -> RetryRules | None:
        """Rules from what was declared; None when nothing was. Raises ValueError for what makes no sense."""
        if isinstance(delays, (str, int, float)) or not isinstance(delays, Iterable):
            raise ValueError(f'retry_delays is a list of delays such as [10, "1m", "5m"], not {delays!r}')  # noqa: TRY004 - one error for all
        rules = cls(
            None if retry_on is None else _exceptions("retry_on", retry_on),
            _exceptions("stop_on", stop_on),
            tuple(parse_duration(delay) for delay in delays),
        )
        return None if rules == cls() else rules

    def why_final(self, error: BaseException) -> str | None:
        """Which rule lets this error be the end, or None."""
        if isinstance(error, self.stop_on):
            return "stop_on"
        if self.retry_on is not None and not isinstance(error, self.retry_on):
            return "retry_on"
        return None

    def delay(self, retries: int) -> float | None:
        """Seconds until the next attempt after so many retries; None leaves it to the policy."""
        return self.delays[min(retries, len(self.delays) - 1)] if self.delays else None


def _exceptions(name: str, given: Exceptions) -> tuple[type[BaseException], ...]:
    found = tuple(given) if isinstance(given, (tuple, list, set, frozenset)) else (given,)
    for item in found:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise ValueError(f"{name} names exception classes such as ConnectionError, not {item!r}")  # noqa: TRY004 - one error for all
    return found
