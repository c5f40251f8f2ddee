"""The audit: who changed what, written in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import reading
from pgtask.model.audit import AuditRecord
from pgtask.model.redaction import redacted

_WRITE = statements.load("write_audit")
_LIST = statements.load("list_audit")
_OF_ENQUEUES = statements.load("audit_of_enqueues")


def write(
    connection: Connection,
    *,
    actor: str,
    address: str | None,
    action: str,
    subject: str | None,
    details: Mapping[str, Any],
    request_id: str | None,
) -> None:
    """Records a change. `details` are what was asked and, where it matters, what was before; secrets are left out."""
    values = {
        "actor": actor,
        "address": address,
        "action": action,
        "subject": subject,
        "details": json.dumps(redacted(dict(details))) if details else None,
        "request_id": request_id,
    }
    connection.execute(_WRITE, values)


def list_audit(
    connection: Connection,
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditRecord]:
    """What was changed, newest first, from below an id on; what is None does not matter. Raises TimeLimitError."""
    values = {"actor": actor, "action": action, "subject": subject, "since": since, "before": before, "limit": limit}
    with reading(connection), connection.cursor(row_factory=class_row(AuditRecord)) as cursor:
        return cursor.execute(_LIST, values, prepare=False).fetchall()


def enqueues_are_audited(connection: Connection) -> bool:
    """Whether jobs that the API enqueues are to be audited, as the setting audit_enqueues says."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(_OF_ENQUEUES).fetchone())
