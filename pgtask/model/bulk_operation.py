"""An action on all jobs that a filter means, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class BulkAction(StrEnum):
    """What is done to each job."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    RESOLVE = "resolve"


class BulkTarget(StrEnum):
    """What the filter looks through."""

    JOBS = "jobs"
    DEAD_LETTERS = "dead_letters"


ACTIONS = {
    BulkTarget.JOBS: frozenset({BulkAction.CANCEL, BulkAction.RETRY, BulkAction.DELETE}),
    BulkTarget.DEAD_LETTERS: frozenset({BulkAction.RETRY, BulkAction.RESOLVE, BulkAction.DELETE}),
}
"""What can be done to what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOperation:
    """One operation. `matched` is how many jobs matched when it was made, at least, unless `exact`.

    `status` is pending, running, completed, cancelled or failed; `answers` says how many jobs got each answer, and
    `refusals` tells of the first hundred that were refused.
    """

    id: int
    action: str
    target: str
    status: str
    filter: dict[str, Any]
    options: dict[str, Any]
    created_at: datetime
    created_by: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    matched: int
    exact: bool
    processed: int
    answers: dict[str, int]
    refusals: list[dict[str, Any]]
    error: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done."""
        return self.finished_at is not None
