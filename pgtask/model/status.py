"""The words for where a job stands and how an attempt ended."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands, as shown everywhere.

    `scheduled` and `retrying` are shown for a stored `pending`: not yet due and never failed,
    and waiting after a failure.
    """

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"

    @property
    def final(self) -> bool:
        """Whether the job has ended; only a retry by hand leaves such a status."""
        return self in FINAL


FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUARANTINED})


class Outcome(StrEnum):
    """How one attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    LOST = "lost"
    RELEASED = "released"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"


PRIORITIES = {"low": 0, "normal": 1, "high": 2, "critical": 3}
MIN_PRIORITY, MAX_PRIORITY = -100, 100


def parse_priority(value: int | str) -> int:
    """The number for a priority given as a number or a name; bigger runs first.

    Raises ValueError for an unknown name or a number outside -100 … 100.
    """
    if isinstance(value, str):
        if value in PRIORITIES:
            return PRIORITIES[value]
        try:
            value = int(value)
        except ValueError:
            names = ", ".join(PRIORITIES)
            raise ValueError(f"unknown priority {value!r}: use {names} or a number") from None
    if isinstance(value, bool) or not MIN_PRIORITY <= value <= MAX_PRIORITY:
        raise ValueError(f"priority {value} is out of range: it lies between -100 and 100")
    return value
