"""Something that happened to a job, as those who follow it see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgtask.model.serialise import instant_as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """An attempt that started (`outcome` is None) or ended.

    `status` is the job's after it: running, or of an ended attempt the final status, `retrying` or `pending`. `attempt`
    is None where the job ended while it waited. `seconds` is how long the attempt ran.
    """

    at: datetime
    id: int
    task: str
    queue: str
    attempt: int | None
    status: str
    outcome: str | None
    seconds: float | None
    worker_id: int | None
    error_type: str | None
    error: str | None

    @property
    def event(self) -> str:
        """`started` or `ended`."""
        return "started" if self.outcome is None else "ended"


def event_as_json(event: JobEvent) -> dict[str, Any]:
    """An event as one object; `error` is whole."""
    return {
        "event": event.event,
        "at": instant_as_text(event.at),
        "id": event.id,
        "task": event.task,
        "queue": event.queue,
        "attempt": event.attempt,
        "status": event.status,
        "outcome": event.outcome,
        "run_seconds": event.seconds,
        "worker_id": event.worker_id,
        "error_type": event.error_type,
        "error": event.error,
    }
