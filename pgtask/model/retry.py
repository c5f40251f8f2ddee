"""Retry policies: how often and after which backoff a failed job is tried again.

The database applies them (`fail_jobs.sql`), because a policy may come from the job, its task or its
queue and must hold when the code of the task is not at hand.
"""

from __future__ import annotations

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
