"""Tokens of the API: what they are made of, and what they permit."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_FORM = re.compile(r"pgt_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a token may be used for. `operate` includes `read`, and `admin` everything."""

    READ = "read"
    ENQUEUE = "enqueue"
    OPERATE = "operate"
    WORKER = "worker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Secret:
    """A token as it is shown once, when it is made."""

    prefix: str
    text: str

    @classmethod
    def draw(cls) -> Secret:
        """A new one, of 256 random bits."""
        prefix = secrets.token_hex(4)
        return cls(prefix, f"pgt_{prefix}_{secrets.token_urlsafe(32)}")

    @classmethod
    def parse(cls, text: str) -> Secret | None:
        """The token in a text, None for what cannot be one."""
        found = _FORM.fullmatch(text)
        return found and cls(found[1], text)

    @property
    def digest(self) -> bytes:
        """What is stored: SHA-256, as random secrets need no slow hash."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A token as it is listed; `queues` None means all, `rate_limit` is requests a second, None the server's."""

    id: int
    name: str
    prefix: str
    scopes: list[str]
    queues: list[str] | None
    rate_limit: float | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None
    last_used_from: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, and what they may: the holder of a token."""

    name: str
    scopes: frozenset[Scope]
    queues: frozenset[str] | None = None
    """Queues whose jobs they may see and touch; None means all."""
    rate_limit: float | None = None

    def may(self, scope: Scope) -> bool:
        """Whether a scope is theirs."""
        given = self.scopes
        return scope in given or Scope.ADMIN in given or (scope is Scope.READ and Scope.OPERATE in given)

    def sees(self, queue: str) -> bool:
        """Whether a queue is one of theirs."""
        return self.queues is None or queue in self.queues
