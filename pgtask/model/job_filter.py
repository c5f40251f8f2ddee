"""What jobs must have in common to be found."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum

from pgtask.model.status import JobStatus

Names = str | tuple[str, ...] | None
"""One name, or several of which one must fit; None does not matter."""

Moment = datetime | timedelta | None
"""An instant, or how long before the search it lies."""


class Sort(StrEnum):
    """The orders that jobs are listed in: those in which a page costs the same however long the list is.

    Jobs get their ids in the order of their creation, so that this is the order of ids.
    """

    NEWEST = "-created"
    OLDEST = "created"
    FINISHED = "-finished"
    """Only ended jobs, those that ended last first."""
    SCHEDULED = "scheduled"
    """Only jobs that wait, those that are due first in front."""


@dataclass(frozen=True, slots=True)
class PayloadTerm:
    """What the payload must hold at a path: one of these values.

    A value is written as JSON. Numbers, true, false and null also stand for the same text: 42 finds 42 and "42".
    """

    path: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What jobs must have in common; what is None or empty does not matter.

    In names of tasks and of errors `*` stands for any text.
    """

    ids: tuple[int, ...] = ()
    statuses: frozenset[JobStatus] = frozenset()
    queue: Names = None
    task: Names = None
    tag: Names = None
    priorities: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()
    """Those that run the jobs, or ran them last."""
    schedule: Names = None
    error: Names = None
    """The type of the error that the job ended with."""
    unique_key: Names = None
    concurrency_key: Names = None
    payload: tuple[PayloadTerm, ...] = ()
    since: Moment = None
    """Jobs that live and were created, or that ended, at this time or later."""
    before: Moment = None
    """Likewise, earlier than this."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    not_queue: Names = None
    not_task: Names = None
    not_tag: Names = None
    not_error: Names = None
    queues: frozenset[str] | None = field(default=None)
    """All queues that whoever asks may see, None for every one. No term of a search: see `__bool__`."""

    def __bool__(self) -> bool:
        """Whether anything is searched for."""
        given = (getattr(self, each.name) for each in fields(self) if each.name != "queues")
        return any(value is not None and value not in ((), frozenset()) for value in given)


def several(names: Names) -> tuple[str, ...]:
    """The names as a tuple, empty for None."""
    return () if names is None else (names,) if isinstance(names, str) else names
