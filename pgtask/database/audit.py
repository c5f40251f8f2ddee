"""The audit: who changed what, written in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgtask.database import statements
from pgtask.database.connection import Connection

_WRITE = statements.load("write_audit")


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
    """Records a change. `details` are what was asked and, where it matters, what was before."""
    values = {
        "actor": actor,
        "address": address,
        "action": action,
        "subject": subject,
        "details": json.dumps(dict(details)) if details else None,
        "request_id": request_id,
    }
    connection.execute(_WRITE, values)
