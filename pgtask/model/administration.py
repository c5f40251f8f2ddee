"""What administrators do, whichever way leads to it: the rest of pgtask.model.operations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from pgtask.model.audit import AuditRecord
from pgtask.model.bulk_operation import BulkAction, BulkOperation
from pgtask.model.job_filter import JobFilter
from pgtask.model.page import Page
from pgtask.model.token import Scope, TokenRecord
from pgtask.model.webhook import WebhookRecord


class TokenOperations(Protocol):
    """Who may use the API, and what they did."""

    def create_token(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        queues: Iterable[str] | None = None,
        rate_limit: float | None = None,
        lifetime: float | None = None,
    ) -> tuple[str, TokenRecord]:
        """Makes a token; its text is not kept. `lifetime` is in seconds, `rate_limit` in requests a second.

        Raises TokenExistsError, ConfigurationError for what cannot be one.
        """

    def list_tokens(self, *, before: int | None = None, limit: int = 50) -> Page[TokenRecord]:
        """Tokens, newest first, from below an id on; also those that have ended."""

    def revoke_token(self, which: int | str) -> TokenRecord:
        """Ends a token, by its id or name. Raises TokenNotFoundError."""

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


class WebhookOperations(Protocol):
    """Where events are sent to."""

    def list_webhooks(self) -> list[WebhookRecord]:
        """All webhooks, by name."""

    def read_webhook(self, name: str) -> WebhookRecord:
        """One webhook. Raises WebhookNotFoundError."""

    def create_webhook(
        self,
        name: str,
        url: str,
        *,
        statuses: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        queues: Iterable[str] | None = None,
    ) -> tuple[str, WebhookRecord]:
        """Makes a webhook that is sent what happens from now on; gives its secret, which is not shown again.

        Raises WebhookError when the name is taken or something cannot be so.
        """

    def pause_webhook(self, name: str) -> WebhookRecord:
        """Sends nothing more until it is resumed. Raises WebhookNotFoundError."""

    def resume_webhook(self, name: str) -> WebhookRecord:
        """Goes on where it was. Raises WebhookNotFoundError."""

    def delete_webhook(self, name: str) -> None:
        """Deletes a webhook. Raises WebhookNotFoundError."""


class BulkOperations(Protocol):
    """Actions on all jobs that a filter means, which workers or the server work off."""

    def create_bulk_operation(self, action: BulkAction, wanted: JobFilter) -> BulkOperation:
        """Makes an operation on the jobs that a filter means now. Raises ConfigurationError for what makes no sense."""

    def read_bulk_operation(self, operation_id: int) -> BulkOperation:
        """One operation. Raises OperationNotFoundError."""

    def list_bulk_operations(self, *, before: int | None = None, limit: int = 50) -> Page[BulkOperation]:
        """The latest operations, of those with ids below `before`."""

    def cancel_bulk_operation(self, operation_id: int) -> BulkOperation:
        """Has an operation stop after the chunk under way. Raises OperationNotFoundError."""


class Administration(TokenOperations, WebhookOperations, BulkOperations, Protocol):
    """All of it."""
