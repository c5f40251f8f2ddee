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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConsumer:
    """A named consumer of the feed, and how far it is."""

    name: str
    position: str
    created_at: datetime
    read_at: datetime | None
    acknowledged_at: datetime | None
    lease_ends_at: datetime | None
    """Until then one of its sessions works on a batch."""
    next_event_at: datetime | None
    """When the next event happened that it has not acknowledged; None where there is none."""
    interrupted: bool
    """Whether events that it had not read are gone: it is told so by an event `reset`."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """What the feed tells: an ended attempt or, where `event` is None, why it cannot go on from there."""

    position: str
    """From here on comes what follows."""
    event: JobEvent | None
    reason: str | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Its place among the events of the feed."""
        return order_of(self.position)


def feed_event_as_json(found: FeedEvent) -> dict[str, Any]:
    """An event of the feed as one object."""
    if found.event is None:
        return {"event": "reset", "position": found.position, "reason": found.reason}
    return event_as_json(found.event) | {"position": found.position}


POSITION = r"^[0-9]{1,9}-[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,9}$"
"""What a position looks like; what its parts mean is the database's affair."""


def order_of(position: str) -> tuple[int, ...]:
    """The place of a position among others."""
    return tuple(map(int, position.split("-")))
