"""A queue, with what waits and runs in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

SETTINGS = (
    *("priority", "weight", "max_retries", "retry_strategy", "retry_delay", "max_retry_delay", "timeout"),
    *("max_workers", "max_workers_per_key", "rate_limit", "rate_burst", "max_size", "retry_budget"),
    "dead_letter_queue",
)
"""What `pgtask queues set` changes, by the names of the fields below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecord:
    """A queue as operators see it. Durations are seconds; None inherits, or is no limit.

    `rate_limit` is as people write it, such as "100/min". `retry_budget` is a share, such as 0.2.

    `created_at` is None for a queue that is not stored and exists only by what names it. Counts are
    exact unless `counts_exact` is false: then they are lower bounds, but `pending` is an estimate
    where PostgreSQL's statistics allow one (`pending_estimated`).
    """

    name: str
    priority: int
    weight: int
    paused_at: datetime | None
    paused_by: str | None
    max_retries: int | None
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    max_workers: int | None
    max_workers_per_key: int
    rate_limit: str | None
    rate_burst: int | None
    max_size: int | None
    retry_budget: float | None
    dead_letter_queue: str | None
    created_at: datetime | None
    pending: int
    pending_estimated: bool
    scheduled: int
    retrying: int
    running: int
    counts_exact: bool
    oldest_due_at: datetime | None
    workers: int

    @property
    def settings(self) -> dict[str, Any]:
        """What operators set, by name."""
        return {name: getattr(self, name) for name in SETTINGS}

    def drained_in(self, ended_per_second: float) -> float | None:
        """Seconds until what is due has ended at this pace, if nothing came in; None where nothing ends."""
        waiting = self.pending + self.retrying + self.running
        if not waiting:
            return 0.0
        return waiting / ended_per_second if ended_per_second > 0 else None

    @property
    def unserved(self) -> bool:
        """Whether jobs wait here that no live worker will take."""
        return self.workers == 0 and self.pending + self.retrying + self.scheduled > 0
