"""What administrators do, on a connection."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from pgtask.database import audit, bulk_operations, tokens, webhooks
from pgtask.database.connection import Connection
from pgtask.model.audit import AuditRecord
from pgtask.model.bulk_operation import BulkAction, BulkOperation
from pgtask.model.job_filter import JobFilter
from pgtask.model.page import Page
from pgtask.model.token import Scope, TokenRecord
from pgtask.model.webhook import WebhookRecord

Record = TypeVar("Record", AuditRecord, BulkOperation, TokenRecord)


class DatabaseAdministration:
    """`pgtask.model.administration.Administration` on a connection."""

    connection: Connection
    _user: str | None

    def create_token(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        queues: Iterable[str] | None = None,
        rate_limit: float | None = None,
        lifetime: float | None = None,
    ) -> tuple[str, TokenRecord]:
        secret = tokens.create_token(
            self.connection,
            name,
            scopes,
            queues=queues,
            rate_limit=rate_limit,
            lifetime=lifetime,
            created_by=self._by(),
        )
        return secret.text, tokens.read_token(self.connection, name)

    def list_tokens(self, *, before: int | None = None, limit: int = 50) -> Page[TokenRecord]:
        return _page(tokens.list_tokens(self.connection, before=before, limit=limit + 1), limit)

    def revoke_token(self, which: int | str) -> TokenRecord:
        return tokens.revoke_token(self.connection, which, revoked_by=self._by())

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
        found = audit.list_audit(
            self.connection, actor=actor, action=action, subject=subject, since=since, before=before, limit=limit + 1
        )
        return _page(found, limit)

    def list_webhooks(self) -> list[WebhookRecord]:
        return webhooks.list_webhooks(self.connection)

    def read_webhook(self, name: str) -> WebhookRecord:
        return webhooks.read(self.connection, name)

    def create_webhook(
        self,
        name: str,
        url: str,
        *,
        statuses: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        queues: Iterable[str] | None = None,
    ) -> tuple[str, WebhookRecord]:
        secret = webhooks.create(self.connection, name, url, statuses=statuses, tasks=tasks, queues=queues)
        return secret, self.read_webhook(name)

    def pause_webhook(self, name: str) -> WebhookRecord:
        webhooks.pause(self.connection, name)
        return self.read_webhook(name)

    def resume_webhook(self, name: str) -> WebhookRecord:
        webhooks.resume(self.connection, name)
        return self.read_webhook(name)

    def delete_webhook(self, name: str) -> None:
        webhooks.delete(self.connection, name)

    def create_bulk_operation(self, action: BulkAction, wanted: JobFilter) -> BulkOperation:
        return bulk_operations.create(self.connection, action, wanted, created_by=self._user)

    def read_bulk_operation(self, operation_id: int) -> BulkOperation:
        return bulk_operations.read(self.connection, operation_id)

    def list_bulk_operations(self, *, before: int | None = None, limit: int = 50) -> Page[BulkOperation]:
        return _page(bulk_operations.list_operations(self.connection, before=before, limit=limit + 1), limit)

    def cancel_bulk_operation(self, operation_id: int) -> BulkOperation:
        return bulk_operations.cancel(self.connection, operation_id)

    def _by(self) -> str:
        return f"{self._user or 'somebody'} at the command line"


def _page(found: list[Record], limit: int) -> Page[Record]:
    """A page, of which one more was asked for to know whether there is another."""
    return Page(found[:limit], str(found[limit - 1].id) if len(found) > limit else None)
