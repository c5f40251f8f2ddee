"""Webhooks: storing them, and how far each has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import errors
from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.destination import Network, parse_network, parse_place
from pgtask.model.errors import WebhookError, WebhookNotFoundError
from pgtask.model.webhook import PATIENCE, STATUSES, Delivery, DueWebhook, WebhookRecord, delay_after, draw_secret

_LIST = statements.load("list_webhooks")
_CREATE = statements.load("create_webhook")
_CHANGE = statements.load("change_webhook")
_PAUSE = statements.load("pause_webhook")
_RESUME = statements.load("resume_webhook")
_DELETE = statements.load("delete_webhook")
_LOCK = statements.load("lock_webhook")
_DUE = statements.load("due_webhooks")
_ADVANCE = statements.load("advance_webhook")
_FAIL = statements.load("fail_webhook")
_SECRET = statements.load("read_webhook_secret")
_NETWORKS = statements.load("read_webhook_networks")

GONE = 410
"""The other side says that it wants nothing more."""


def list_webhooks(connection: Connection) -> list[WebhookRecord]:
    """All webhooks, by name."""
    with reading(connection):
        return _list(connection, None)


def read(connection: Connection, name: str, *, lock: bool = False) -> WebhookRecord:
    """One webhook, locked for the transaction if asked. Raises WebhookNotFoundError."""
    with reading(connection):
        if lock:
            connection.execute(_LOCK, {"name": name})
        found = _list(connection, name)
        if not found:
            raise _missing(connection, name)
        return found[0]


def create(
    connection: Connection,
    name: str,
    url: str,
    *,
    statuses: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    queues: Iterable[str] | None = None,
) -> str:
    """Makes a webhook that is sent what happens from now on, and returns its secret, which is not shown again.

    Raises WebhookError when the name is taken or something cannot be so.
    """
    secret = draw_secret()
    values = {"name": name, "secret": secret, **_checked_values(url, statuses, tasks, queues)}
    with in_words(connection), _in_words_of_webhooks(name):
        connection.execute(_CREATE, values)
    return secret


def change(
    connection: Connection,
    name: str,
    url: str,
    *,
    statuses: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    queues: Iterable[str] | None = None,
) -> None:
    """Says anew where a webhook goes and what is sent. Raises WebhookNotFoundError, WebhookError."""
    _one(connection, _CHANGE, name, **_checked_values(url, statuses, tasks, queues))


def pause(connection: Connection, name: str, reason: str | None = None) -> None:
    """Sends nothing more until it is resumed. Raises WebhookNotFoundError."""
    _one(connection, _PAUSE, name, reason=reason)


def resume(connection: Connection, name: str) -> None:
    """Goes on where it was. Raises WebhookNotFoundError."""
    _one(connection, _RESUME, name)


def delete(connection: Connection, name: str) -> None:
    """Deletes a webhook. Raises WebhookNotFoundError."""
    _one(connection, _DELETE, name)


def secret(connection: Connection, name: str) -> str:
    """What a webhook signs with. Raises WebhookNotFoundError."""
    with reading(connection), connection.cursor(row_factory=scalar_row) as cursor:
        found = cursor.execute(_SECRET, {"name": name}).fetchone()
        if found is None:
            raise _missing(connection, name)
        return str(found)


def networks(connection: Connection) -> list[Network]:
    """What may be reached though it is not public."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return [parse_network(text) for text in cursor.execute(_NETWORKS)]


def due(connection: Connection, busy: Sequence[int], limit: int) -> list[DueWebhook]:
    """Webhooks that have something to be sent, but for those that are seen to."""
    with connection.cursor(row_factory=class_row(DueWebhook)) as cursor:
        return cursor.execute(_DUE, {"busy": list(busy), "limit": limit}).fetchall()


def advance(connection: Connection, webhook: DueWebhook, position: str, status: int | None) -> bool:
    """Moves a webhook on after an answer, or None for nothing to send; False where it was changed meanwhile."""
    values = {"id": webhook.id, "url": webhook.url, "from": webhook.position, "position": position, "status": status}
    return connection.execute(_ADVANCE, values).fetchone() is not None


def fail(connection: Connection, webhook: DueWebhook, delivery: Delivery) -> bool:
    """Notes a delivery that failed; whether the webhook is paused for it."""
    delay = max(delay_after(webhook.failures + 1), delivery.retry_after or 0.0)
    gone = delivery.status == GONE
    values = {
        "id": webhook.id,
        "url": webhook.url,
        "from": webhook.position,
        "delay": delay,
        "patience": PATIENCE,
        "status": delivery.status,
        "error": delivery.error,
        "gone": gone,
        "reason": "it answered 410 Gone" if gone else f"it failed for {PATIENCE / 86400:g} days",
    }
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(_FAIL, values).fetchone())


def _list(connection: Connection, name: str | None) -> list[WebhookRecord]:
    with connection.cursor(row_factory=class_row(WebhookRecord)) as cursor:
        return cursor.execute(_LIST, {"name": name}).fetchall()


def _one(connection: Connection, statement: bytes, name: str, **values: Any) -> None:
    with in_words(connection), _in_words_of_webhooks(name):
        if not connection.execute(statement, {"name": name, **values}).rowcount:
            raise _missing(connection, name)


def _missing(connection: Connection, name: str) -> WebhookNotFoundError:
    return WebhookNotFoundError(name, [known.name for known in _list(connection, None)])


def _checked_values(
    url: str, statuses: Iterable[str] | None, tasks: Iterable[str] | None, queues: Iterable[str] | None
) -> dict[str, Any]:
    try:
        parse_place(url)
    except ValueError as error:
        raise WebhookError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    listed = None if statuses is None else sorted(set(statuses))
    if unknown := set(listed or ()) - set(STATUSES):
        raise WebhookError(f"No job is ever {', '.join(sorted(unknown))} after an attempt: use {', '.join(STATUSES)}.")
    return {
        "url": url,
        "statuses": listed,
        "tasks": None if tasks is None else sorted(set(tasks)),
        "queues": None if queues is None else sorted(set(queues)),
    }


@contextmanager
def _in_words_of_webhooks(name: str) -> Iterator[None]:
    try:
        yield
    except errors.UniqueViolation as error:
        raise WebhookError(f"There is a webhook '{name}' already: give this one another name.") from error
    except errors.CheckViolation as error:
        raise WebhookError("A webhook has a name of 1 to 128 bytes.") from error
