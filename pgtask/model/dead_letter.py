"""Dead letters: what a copy tells of the job that failed, and groups of those that failed alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from pgtask.model.job import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """The job that a copy in a dead letter queue was made of, and what it ended with. Times are aware."""

    job_id: int
    queue: str
    status: str
    """`failed` or `quarantined`."""
    attempt: int
    """How often it was claimed."""
    retry_count: int
    created_at: datetime
    finished_at: datetime
    error_type: str | None
    error: str | None
    """At most 4 KiB of it."""

    @classmethod
    def decode(cls, value: dict[str, Any]) -> Self:
        """From the column dead_letter, which end_jobs.sql has filled."""
        times = {name: datetime.fromisoformat(value[name]) for name in ("created_at", "finished_at")}
        return cls(**{**value, **times})


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What came of a job beyond its end: the copy in a dead letter queue, and who has dealt with it."""

    copy_id: int | None
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """Dead letters of one task that failed with the same type of error."""

    task: str
    error_type: str | None
    count: int
    first_at: datetime
    last_at: datetime
    last_id: int
    """The one that failed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """What dead letters must have in common; what is None does not matter. In names, `*` stands for any text."""

    task: str | None = None
    queue: str | None = None
    error_type: str | None = None
    status: str | None = None
    """`failed` or `quarantined`."""
    tag: str | None = None
    since: datetime | None = None
    """When they failed at the earliest."""
    queues: frozenset[str] | None = None
    """Those that whoever asks may see; None means all."""

    def __bool__(self) -> bool:
        return any((self.task, self.queue, self.error_type, self.status, self.tag, self.since))


class Position(NamedTuple):
    """A place in the list: when a dead letter ended, and its id."""

    finished_at: datetime
    id: int


class DeadLetterPage(NamedTuple):
    """Dead letters, latest first, and where the list goes on; None on the last page."""

    jobs: list[JobRecord]
    next: Position | None


class DeadLetterCount(NamedTuple):
    """How many match, at least `number` unless `exact`, and the latest of them; None for none."""

    number: int
    exact: bool
    latest: Position | None
