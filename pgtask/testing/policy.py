"""What becomes of a job after an attempt, for jobs in no database: the rules of `sql/end_jobs.sql`, without jitter."""

from __future__ import annotations

from typing import Any

from pgtask.engine.attempt import Attempt
from pgtask.engine.task import Task
from pgtask.model.job import JobRecord
from pgtask.model.status import JobStatus, Outcome

_MAX_RETRIES = 3
_STRATEGY, _DELAY, _MAX_DELAY = "exponential", 15.0, 3600.0
_CHARGED = frozenset({Outcome.FAILED, Outcome.TIMEOUT, Outcome.CRASHED})


def charge(attempt: Attempt) -> int:
    """The retries that the attempt costs."""
    return int(attempt.outcome in _CHARGED)


def final_status(job: JobRecord, task: Task[Any], attempt: Attempt) -> JobStatus | None:
    """The status in which the job ends with this attempt, None when it goes on."""
    if attempt.outcome == Outcome.COMPLETED:
        return JobStatus.COMPLETED
    if attempt.outcome == Outcome.CANCELLED or job.cancel_requested_at is not None:
        return JobStatus.CANCELLED
    allowed = _first(job.max_retries, task.defaults.max_retries, _MAX_RETRIES)
    if attempt.final or (charge(attempt) and 0 <= allowed <= job.retry_count):
        return JobStatus.FAILED
    return None


def delay(job: JobRecord, task: Task[Any], attempt: Attempt) -> float:
    """Seconds until the job that goes on is due."""
    has_own = (job.retry_strategy, job.retry_delay, job.max_retry_delay) != (None, None, None)
    if attempt.delay is not None and not (attempt.advised and has_own):
        return attempt.delay
    own = task.defaults.retry
    base = _first(job.retry_delay, own.delay, _DELAY)
    longest = _first(job.max_retry_delay, own.max_delay, _MAX_DELAY)
    match _first(job.retry_strategy, own.strategy, _STRATEGY):
        case "fixed":
            factor = 1
        case "linear":
            factor = job.retry_count + 1
        case _:
            factor = 2 ** min(job.retry_count, 60)
    return float(min(longest, base * factor))


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
