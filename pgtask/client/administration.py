"""What administrators do, over REST."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pgtask.client.listing import all_of, page_of
from pgtask.client.records import record
from pgtask.client.transport import Transport, path_to
from pgtask.model.audit import AuditRecord
from pgtask.model.bulk_operation import BulkAction, BulkOperation
from pgtask.model.errors import TokenNotFoundError
from pgtask.model.job_filter import JobFilter
from pgtask.model.page import Page
from pgtask.model.search import write_search
from pgtask.model.serialise import instant_as_text
from pgtask.model.token import Scope, TokenRecord
from pgtask.model.webhook import Delivery, WebhookRecord


class AdministrationCalls:
    """Tokens, the audit, webhooks and bulk operations. See pgtask.model.administration."""

    _transport: Transport

    def create_token(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        queues: Iterable[str] | None = None,
        rate_limit: float | None = None,
        lifetime: float | None = None,
    ) -> tuple[str, TokenRecord]:
        """Makes a token; its text is not kept. `lifetime` is in seconds, `rate_limit` in requests a second."""
        wanted: dict[str, Any] = {"name": name, "scopes": sorted(set(scopes)), "queues": _listed(queues)}
        made = self._transport.post("/tokens", wanted | {"rate_limit": rate_limit, "lifetime": lifetime})
        return made["token"], record(TokenRecord, made)

    def list_tokens(self, *, before: int | None = None, limit: int = 50) -> Page[TokenRecord]:
        """Tokens, newest first, from below an id on; also those that have ended."""
        return page_of(self._transport, "/tokens", TokenRecord, limit=limit, cursor=before)

    def revoke_token(self, which: int | str) -> TokenRecord:
        """Ends a token, by its id or name. Raises TokenNotFoundError."""
        id = which if isinstance(which, int) else self._token_called(which).id
        self._transport.delete(path_to("tokens", id))
        return self.list_tokens(before=id + 1, limit=1).items[0]

    def _token_called(self, name: str) -> TokenRecord:
        for token in all_of(self._transport, "/tokens", TokenRecord):
            if token.name == name:
                return token
        raise TokenNotFoundError(name)

    def list_audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page[AuditRecord]:
        """What was changed, newest first, from below an id on; what is None does not matter."""
        query = {"actor": actor, "action": action, "subject": subject, "since": since and instant_as_text(since)}
        return page_of(self._transport, "/audit", AuditRecord, limit=limit, cursor=before, **query)

    def list_webhooks(self) -> list[WebhookRecord]:
        """All webhooks, by name."""
        return [record(WebhookRecord, found) for found in self._transport.get("/webhooks")["items"]]

    def read_webhook(self, name: str) -> WebhookRecord:
        """One webhook. Raises WebhookNotFoundError."""
        return record(WebhookRecord, self._transport.get(path_to("webhooks", name)))

    def create_webhook(
        self,
        name: str,
        url: str,
        *,
        statuses: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        queues: Iterable[str] | None = None,
    ) -> tuple[str, WebhookRecord]:
        """Makes a webhook that is sent what happens from now on; gives its secret, which is not shown again."""
        wanted = {"statuses": _listed(statuses), "tasks": _listed(tasks), "queues": _listed(queues)}
        made = self._transport.post("/webhooks", {"name": name, "url": url} | wanted)
        return made["secret"], record(WebhookRecord, made)

    def pause_webhook(self, name: str) -> WebhookRecord:
        """Sends nothing more until it is resumed. Raises WebhookNotFoundError."""
        return record(WebhookRecord, self._transport.post(path_to("webhooks", name, "pause")))

    def resume_webhook(self, name: str) -> WebhookRecord:
        """Goes on where it was. Raises WebhookNotFoundError."""
        return record(WebhookRecord, self._transport.post(path_to("webhooks", name, "resume")))

    def delete_webhook(self, name: str) -> None:
        """Deletes a webhook. Raises WebhookNotFoundError."""
        self._transport.delete(path_to("webhooks", name))

    def test_webhook(self, name: str) -> Delivery:
        """Has the server send a message of type test. Raises WebhookNotFoundError."""
        return record(Delivery, self._transport.post(path_to("webhooks", name, "test")))

    def create_bulk_operation(self, action: BulkAction, wanted: JobFilter) -> BulkOperation:
        """Makes an operation on the jobs that a filter means now. Raises ConfigurationError for what makes no sense."""
        chosen = {"action": action.value, "jobs": {"q": write_search(wanted)}}
        return record(BulkOperation, self._transport.post("/bulk-operations", chosen))

    def read_bulk_operation(self, operation_id: int) -> BulkOperation:
        """One operation. Raises OperationNotFoundError."""
        return record(BulkOperation, self._transport.get(path_to("bulk-operations", operation_id)))

    def list_bulk_operations(self, *, before: int | None = None, limit: int = 50) -> Page[BulkOperation]:
        """The latest operations, of those with ids below `before`."""
        # The cursor of this list is its last id, wrapped as the API's cursors are.
        cursor = None if before is None else base64.urlsafe_b64encode(f"[{before}]".encode()).decode().rstrip("=")
        return page_of(self._transport, "/bulk-operations", BulkOperation, limit=limit, cursor=cursor)

    def cancel_bulk_operation(self, operation_id: int) -> BulkOperation:
        """Has an operation stop after the chunk under way. Raises OperationNotFoundError."""
        return record(BulkOperation, self._transport.post(path_to("bulk-operations", operation_id, "cancel")))


def _listed(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else sorted(set(names))
