"""A queue, with what waits and runs in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
    def unserved(self) -> bool:
        """Whether jobs wait here that no live worker will take."""
        return self.workers == 0 and self.pending + self.retrying + self.scheduled > 0
