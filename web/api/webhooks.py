"""Webhooks: where events are sent to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from pgtask.database import webhooks
from pgtask.database.connection import Connection
from pgtask.database.pool import Pool
from pgtask.engine.webhooks import try_out
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.token import Scope

from ..conditional import require_match
from ..contract import Answer, Section
from ..document import BASE
from ..fields import Text
from ..inputs import Body
from ..requests import note, require_all_queues
from ..shapes import Page, Shape

section = Section("webhooks", "Where events are sent to, signed as Standard Webhooks says.")

Status = Literal["completed", "failed", "cancelled", "quarantined", "retrying", "pending"]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, Field(max_length=2000, pattern=r"^https?://[A-Za-z0-9_][A-Za-z0-9_.-]*(:[0-9]+)?(/[!-~]*)?$")]
Chosen = Annotated[list[Annotated[Text, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=100)]


class WebhookFields(Body):
    """Where a webhook goes and what is sent."""

    url: Url
    """http or https, without user name and password."""
    statuses: Annotated[list[Status], Field(min_length=1)] | None = None
    """How a job must stand after the attempt; null means all."""
    tasks: Chosen | None = None
    """Null means all."""
    queues: Chosen | None = None
    """Null means all."""


class NewWebhook(WebhookFields):
    """A webhook that is to be made."""

    name: Name


class WebhookShape(Shape):
    """A webhook."""

    id: int
    name: str
    url: str
    statuses: list[str] | None
    tasks: list[str] | None
    queues: list[str] | None
    paused_at: datetime | None
    paused_reason: str | None
    position: str
    """Of the feed: up to here all has been sent."""
    created_at: datetime
    failures: int
    """Deliveries in a row that failed."""
    first_failed_at: datetime | None
    next_attempt_at: datetime
    delivered_at: datetime | None
    last_status: int | None
    """What the other side answered last."""
    last_error: str | None
    next_event_at: datetime | None
    """When the next event happened that it has not been offered."""


class NewWebhookShape(WebhookShape):
    """A webhook that was made."""

    secret: str | None
    """What signs its messages. It is not shown again: null where a request is repeated with its Idempotency-Key."""


class DeliveryShape(Shape):
    """What came of a message."""

    delivered: bool
    status: int | None
    """The status of the answer, null without one."""
    error: str | None


@section.get("/webhooks", scope=Scope.ADMIN, answer=Page[WebhookShape])
def list_webhooks(connection: Connection) -> dict[str, Any]:
    """All webhooks, by name."""
    require_all_queues()
    return page_as_json([record_as_json(found) for found in webhooks.list_webhooks(connection)])


@section.post("/webhooks", scope=Scope.ADMIN, answer=NewWebhookShape, status=201)
def create_webhook(connection: Connection, body: NewWebhook) -> Answer:
    """Makes a webhook that is sent what happens from now on.

    The answer holds its secret, which is not shown again. Each event is sent at least once and in order; `webhook-id`
    is the same whenever an event is sent again.
    """
    require_all_queues()
    note(body.name, url=body.url)
    secret = webhooks.create(connection, body.name, body.url, **_filters(body))
    made = record_as_json(webhooks.read(connection, body.name))
    place = {"Location": f"{BASE}/webhooks/{quote(body.name, safe='')}"}
    return Answer(made | {"secret": secret}, headers=place, kept=made | {"secret": None})


@section.get("/webhooks/{name}", scope=Scope.ADMIN, answer=WebhookShape)
def get_webhook(connection: Connection, name: str) -> dict[str, Any]:
    """One webhook."""
    require_all_queues()
    return record_as_json(webhooks.read(connection, name))


@section.put("/webhooks/{name}", scope=Scope.ADMIN, answer=WebhookShape, problems={412})
def change_webhook(connection: Connection, name: str, body: WebhookFields) -> dict[str, Any]:
    """Says anew where a webhook goes and what is sent. Its secret and its place in the feed stay."""
    _lock(connection, name)
    webhooks.change(connection, name, body.url, **_filters(body))
    return record_as_json(webhooks.read(connection, name))


@section.delete("/webhooks/{name}", scope=Scope.ADMIN, problems={412})
def delete_webhook(connection: Connection, name: str) -> None:
    """Deletes a webhook."""
    _lock(connection, name)
    webhooks.delete(connection, name)


@section.post("/webhooks/{name}/pause", scope=Scope.ADMIN, answer=WebhookShape)
def pause_webhook(connection: Connection, name: str) -> dict[str, Any]:
    """Sends nothing more until it is resumed; what happens meanwhile is sent then."""
    require_all_queues()
    note(name)
    webhooks.pause(connection, name)
    return record_as_json(webhooks.read(connection, name))


@section.post("/webhooks/{name}/resume", scope=Scope.ADMIN, answer=WebhookShape)
def resume_webhook(connection: Connection, name: str) -> dict[str, Any]:
    """Goes on where it was, at once."""
    require_all_queues()
    note(name)
    webhooks.resume(connection, name)
    return record_as_json(webhooks.read(connection, name))


@section.post("/webhooks/{name}/test", scope=Scope.ADMIN, answer=DeliveryShape)
def test_webhook(pool: Pool, name: str) -> dict[str, Any]:
    """Sends a message of type `test` now, and says what came of it."""
    require_all_queues()
    # No connection is held while it is sent.
    delivery = try_out(pool, name)
    return {"delivered": delivery.error is None, "status": delivery.status, "error": delivery.error}


def _filters(body: WebhookFields) -> dict[str, list[Any] | None]:
    return {"statuses": body.statuses, "tasks": body.tasks, "queues": body.queues}


def _lock(connection: Connection, name: str) -> None:
    """Locks what is to be changed, notes how it was, and makes sure that the caller knows it so."""
    require_all_queues()
    before = record_as_json(webhooks.read(connection, name, lock=True))
    note(name, before={field: before[field] for field in ("url", "statuses", "tasks", "queues")})
    require_match(before)
