"""One execution of a job, and what it logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """How an attempt went. `attempt` is None for a job that ended while it waited.

    What an attempt used is known where it had its process to itself, else None.
    """

    attempt: int | None
    outcome: str
    final: bool
    started_at: datetime | None
    finished_at: datetime
    worker_id: int | None
    executor: int | None
    error_type: str | None
    error: str | None
    traceback: str | None
    cpu_seconds: float | None
    """Time of processors, with what its child processes used."""
    peak_rss_bytes: int | None
    """The most memory that its process held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that an attempt logged, numbered within the attempt."""

    attempt: int
    line: int
    logged_at: datetime
    level: str
    message: str
