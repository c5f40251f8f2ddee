"""Webhooks: where events are sent to, what is sent, and how it is signed (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pgtask.model.event import FeedEvent, feed_event_as_json
from pgtask.model.serialise import instant_as_text

STATUSES = ("completed", "failed", "cancelled", "quarantined", "retrying", "pending")
"""What a webhook may be limited to: how a job stands after an attempt."""

PREFIX = "whsec_"

DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
"""Seconds until what failed is tried again, by the failures before; the last one holds from then on."""

PATIENCE = 3 * 86400.0
"""Seconds that a webhook may fail before it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRecord:
    """A webhook as operators see it; `statuses`, `tasks` and `queues` None mean all."""

    id: int
    name: str
    url: str
    statuses: list[str] | None
    tasks: list[str] | None
    queues: list[str] | None
    paused_at: datetime | None
    paused_reason: str | None
    position: str
    created_at: datetime
    failures: int
    """Deliveries in a row that failed."""
    first_failed_at: datetime | None
    next_attempt_at: datetime
    delivered_at: datetime | None
    last_status: int | None
    """What the other side answered last; None where it did not."""
    last_error: str | None
    next_event_at: datetime | None
    """When the next event happened that it has not been offered; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWebhook:
    """A webhook that has something to be sent."""

    id: int
    name: str
    url: str
    secret: str
    statuses: list[str] | None
    tasks: list[str] | None
    queues: list[str] | None
    position: str
    failures: int

    def wants(self, found: FeedEvent) -> bool:
        """Whether an event is to be sent. That some are missing always is."""
        event = found.event
        return event is None or (
            (self.statuses is None or event.status in self.statuses)
            and (self.tasks is None or event.task in self.tasks)
            and (self.queues is None or event.queue in self.queues)
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; the id is the event's own, the same however often it is sent."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of sending a message: the answer's status and, unless it went well, what was wrong."""

    status: int | None
    error: str | None
    retry_after: float | None = None


def draw_secret() -> str:
    """A new secret of 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def message(found: FeedEvent) -> Message:
    """The message that tells of an event."""
    if found.event is None:
        kind, at = "feed.reset", datetime.now(UTC)
    else:
        kind, at = f"job.{found.event.status}", found.event.at
    content = {"type": kind, "timestamp": instant_as_text(at), "data": feed_event_as_json(found)}
    return Message(f"evt_{found.position}", json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def trial() -> Message:
    """A message that says nothing, to see whether it arrives."""
    now = datetime.now(UTC)
    content = {"type": "test", "timestamp": instant_as_text(now), "data": {}}
    return Message(f"test_{secrets.token_hex(8)}", json.dumps(content, separators=(",", ":")).encode())


def signed_headers(secret: str, message: Message, timestamp: int) -> dict[str, str]:
    """The headers of Standard Webhooks; `timestamp` is in seconds since 1970."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{message.id}.{timestamp}.".encode() + message.body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": message.id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def delay_after(failures: int) -> float:
    """Seconds until the next try after so many failures in a row."""
    return DELAYS[min(failures, len(DELAYS)) - 1]
