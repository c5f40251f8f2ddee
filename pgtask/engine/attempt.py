"""One attempt at a job on its way through an executor."""

from __future__ import annotations

from datetime import datetime
from typing import Any

# Outcomes of transactional attempts that have been settled in the database already: completed, or refused.
COMMITTED, SUPERSEDED = "committed", "superseded"


class Attempt:
    """A claimed job and what became of it. Instants are of the monotonic clock, in seconds."""

    __slots__ = (
        "advised",
        "attempt",
        "cancelled",
        "claimed_at",
        "context",
        "cpu_seconds",
        "delay",
        "ended_at",
        "error",
        "error_type",
        "final",
        "id",
        "limited",
        "mark",
        "outcome",
        "payload",
        "peak_rss_bytes",
        "priority",
        "queue",
        "result",
        "retry_count",
        "started_at",
        "task",
        "tick_at",
        "timeout",
        "traceback",
    )

    def __init__(
        self,
        id: int,
        attempt: int,
        task: str,
        queue: str,
        priority: int,
        payload: Any,
        timeout: float | None,
        retry_count: int,
        claimed_at: float,
        tick_at: datetime | None = None,
    ) -> None:
        self.id = id
        self.attempt = attempt
        self.task = task
        self.queue = queue
        self.payload = payload
        self.timeout = timeout
        self.retry_count = retry_count
        self.priority = priority
        self.claimed_at = claimed_at
        self.tick_at = tick_at
        self.mark = -1
        self.limited = False
        self.started_at: float | None = None
        self.ended_at = 0.0
        self.outcome = "completed"
        self.result: str | None = None
        self.error_type: str | None = None
        self.error: str | None = None
        self.traceback: str | None = None
        self.final = False
        self.delay: float | None = None
        # Whether the delay is the task's, which a policy of the job's own replaces.
        self.advised = False
        self.cancelled = False
        self.cpu_seconds: float | None = None
        self.peak_rss_bytes: int | None = None
        self.context: Any = None

    @property
    def key(self) -> tuple[int, int]:
        """The fencing pair (job id, attempt)."""
        return (self.id, self.attempt)
