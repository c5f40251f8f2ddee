"""Unique keys of jobs in no database: the rules of `pgtask.enqueue_or_find`, as migration 0007 has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pgtask.model.errors import PayloadError, UniqueConflictError
from pgtask.model.job import JobRecord, NewJob
from pgtask.model.payload import decode_many
from pgtask.model.status import JobStatus
from pgtask.testing.policy import waiting_status

# Of a job that waits, besides payload, tags and due time.
_REPLACEABLE = (
    *("priority", "timeout", "max_retries", "retry_strategy", "retry_delay", "max_retry_delay", "traceparent"),
    "concurrency_key",
)


@dataclass(frozen=True, slots=True)
class Key:
    """A job's unique key. Without a scope only live jobs hold it; those with one are a name space of their own."""

    text: str | None
    scope: str | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, job: NewJob, payload: str, now: datetime) -> Key:
        """That of a new job with this payload, JSON text."""
        text = job.unique_key if job.unique_by is None else _payload_key(job.task, payload, job.unique_by)
        if job.unique_scope is None and job.unique_window is None:
            return cls(text)
        until = None if job.unique_window is None else now + timedelta(seconds=job.unique_window)
        return cls(text, job.unique_scope or "active", until)

    @classmethod
    def held_by(cls, record: JobRecord) -> Key:
        """That of a job."""
        return cls(record.unique_key, record.unique_scope, record.unique_until)


@dataclass(slots=True)
class Keys:
    """Who holds which key."""

    jobs: Mapping[int, JobRecord]
    running: Mapping[int, Any]
    _scoped: dict[str, int] = field(default_factory=dict)

    def holder(self, key: Key) -> int | None:
        """The job that holds a key, None when it is free."""
        if key.text is None:
            return None
        if key.scope is None:
            live = (job for job in self.jobs.values() if not JobStatus(job.status).final and job.unique_scope is None)
            return next((job.id for job in live if job.unique_key == key.text), None)
        holder = self._scoped.get(key.text)
        return holder if holder is not None and self._holds(self.jobs[holder]) else None

    def take(self, key: Key, id: int) -> None:
        """Gives a free key to a job."""
        if key.text is not None and key.scope is not None:
            self._scoped[key.text] = id

    def meet(self, holder: int, job: NewJob, payload: str, due: datetime) -> tuple[JobRecord, str]:
        """The holder of the key of a new job as it then is, and what was done: `held`, `replaced` or `rescheduled`.

        Raises UniqueConflictError, and PayloadError for a holder of another task.
        """
        held = self.jobs[holder]
        if job.on_conflict == "error":
            raise UniqueConflictError(holder)
        if job.on_conflict is None or not self._waits(holder):
            return held, "held"
        if held.task != job.task:
            raise PayloadError(
                f"job {holder} holds the unique key {held.unique_key!r} and is of another task: it cannot be changed "
                f"for task {job.task}"
            )
        if job.on_conflict == "reschedule":
            if job.max_wait is not None:
                due = min(due, held.created_at + timedelta(seconds=job.max_wait))
            changes, answer = {}, "rescheduled"
        else:
            changes, answer = {name: getattr(job, name) for name in _REPLACEABLE}, "replaced"
            changes |= {"payload": decode_many([payload])[0], "tags": list(job.tags) or None}
        status = waiting_status(held.retry_count, due)
        return replace(held, **changes, scheduled_at=due, status=status), answer

    def _waits(self, id: int) -> bool:
        return id not in self.running and not JobStatus(self.jobs[id].status).final

    def _holds(self, job: JobRecord) -> bool:
        if job.unique_until is not None and job.unique_until <= datetime.now(UTC):
            return False
        match job.unique_scope:
            case "always":
                return True
            case "waiting":
                return self._waits(job.id)
            case "until_success":
                return not JobStatus(job.status).final or job.status == JobStatus.COMPLETED
            case _:
                return not JobStatus(job.status).final


def _payload_key(task: str, payload: str, paths: tuple[str, ...]) -> str:
    document = json.loads(payload, parse_float=_number)
    chosen = sorted(set(paths))
    values = [_at(document, path.split(".")) for path in chosen] if chosen else document
    return hashlib.sha256(json.dumps([task, chosen, values], sort_keys=True).encode()).hexdigest()


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def _at(value: Any, path: list[str]) -> Any:
    for name in path:
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (LookupError, TypeError, ValueError):
            return None
    return value
