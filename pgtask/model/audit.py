"""What the audit tells of one change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """A change: who made it, from where, what it was and of what."""

    id: int
    at: datetime
    actor: str
    address: str | None
    action: str
    subject: str | None
    details: Any
    request_id: str | None
