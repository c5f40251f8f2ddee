"""The request at hand: its number, who asks, and what the audit is to say of it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from flask import g, request

from pgtask.model.redaction import redacted
from pgtask.model.token import Principal, Scope

from .problems import Problem
from .rates import Standing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Asked:
    """What is known of the request at hand."""

    request_id: str
    principal: Principal | None = None
    subject: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    standing: Standing | None = None
    """How the caller stands to their rate."""

    @property
    def caller(self) -> Principal:
        """Who asks; for operations that need a scope."""
        assert self.principal is not None
        return self.principal


def begin() -> Asked:
    """Starts the record of this request. Its id is the caller's own where that is well-formed."""
    given = request.headers.get("X-Request-Id", "")
    asked = Asked(given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8))
    g.pgtask = asked
    return asked


def asked() -> Asked:
    """The record of this request."""
    return cast("Asked | None", g.get("pgtask")) or begin()


def caller() -> Principal:
    """Who asks."""
    return asked().caller


def shown(content: dict[str, Any]) -> dict[str, Any]:
    """What the caller is to see of it: secrets in payloads, results and errors are for those who may change jobs."""
    if caller().may(Scope.OPERATE):
        return content
    hidden: dict[str, Any] = redacted(content)
    return hidden


def note(subject: str | int | None = None, **details: Any) -> None:
    """Says for the audit what is changed, and how: `details` such as what it was `before`."""
    record = asked()
    if subject is not None:
        record.subject = str(subject)
    record.details |= details


def note_change(subject: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Says for the audit what of a thing was changed, from what to what."""
    changed = [name for name in after if before.get(name) != after[name]]
    note(
        subject,
        before={name: before.get(name) for name in changed},
        after={name: after[name] for name in changed},
    )


def require_queue(queue: str, missing: Exception) -> None:
    """Raises `missing` where the caller may not see a queue: what one may not see is not there."""
    if not caller().sees(queue):
        raise missing


def require_all_queues() -> None:
    """Raises Problem 403 for a caller whose token is limited to some queues."""
    if caller().queues is not None:
        raise Problem(403, "limited-token", "This token is limited to some queues, and this concerns all of them.")
