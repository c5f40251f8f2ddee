"""A job as it is stored, and a request to make one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pgtask.model.errors import PayloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A row of the view all_jobs: one job, live or ended. Times are aware; durations are seconds."""

    id: int
    task: str
    queue: str
    payload: Any
    priority: int
    status: str
    attempt: int
    retry_count: int
    crash_count: int
    max_retries: int | None
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    unique_key: str | None
    tags: list[str] | None
    traceparent: str | None
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: int | None
    executor: int | None
    progress: int | None
    progress_message: str | None
    cancel_requested_at: datetime | None
    outcome: str | None
    result: Any
    error_type: str | None
    error: str | None
    traceback: str | None
    schedule_id: int | None = None
    tick_at: datetime | None = None
    start_by: datetime | None = None
    concurrency_key: str | None = None
    unique_scope: str | None = None
    unique_until: datetime | None = None
    dead_letter: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Everything about a job to be enqueued but its payload. Durations are seconds; None inherits.

    A job that has not started by `start_by`, or within `expires` from when it was enqueued, is cancelled.
    """

    task: str
    queue: str = "default"
    priority: int = 1
    delay: float | None = None
    scheduled_at: datetime | None = None
    unique_key: str | None = None
    max_retries: int | None = None
    retry_strategy: str | None = None
    retry_delay: float | None = None
    max_retry_delay: float | None = None
    timeout: float | None = None
    tags: tuple[str, ...] = field(default=())
    traceparent: str | None = None
    concurrency_key: str | None = None
    start_by: datetime | None = None
    expires: float | None = None

    def check_deadline(self) -> None:
        """Raises PayloadError when the job could never be started in time."""
        now = datetime.now(UTC)
        if self.start_by is not None and self.start_by <= now:
            raise PayloadError(f"start_by {self.start_by.isoformat()} has passed: give an instant to come")
        if self.start_by is None and self.expires is None:
            return
        last = self.start_by or now + timedelta(seconds=self.expires or 0)
        due = self.scheduled_at or now + timedelta(seconds=self.delay or 0)
        if last < due:
            raise PayloadError(
                f"The job would expire at {last.isoformat(timespec='seconds')}, before it is due at "
                f"{due.isoformat(timespec='seconds')}: let it expire later"
            )

    unique_by: tuple[str, ...] | None = None
    unique_scope: str | None = None
    unique_window: float | None = None
    on_conflict: str | None = None
    max_wait: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a row says it all: no key, or one that the live jobs alone hold, with nothing to do about them."""
        beyond = (self.unique_by, self.unique_scope, self.unique_window, self.on_conflict)
        return all(value is None for value in beyond)
