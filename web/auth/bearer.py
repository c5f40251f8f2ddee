"""Bearer tokens: whose request this is."""

from __future__ import annotations

import threading
import time

from flask import request

from pgtask.database import tokens
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.token import Principal, Secret

from ..problems import Problem

REMEMBERED = 2.0
"""Seconds that a token is believed without asking the database: as long as a revoked one may still work."""

_MOST = 10_000

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pgtask"'}


class Bearers:
    """Tokens that were looked up a moment ago, by their digests."""

    def __init__(self, pool: Pool) -> None:
        """`pool` leads to the database that knows them."""
        self._pool = pool
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Principal | None]] = {}

    def principal(self) -> Principal:
        """Whose token the request carries. Raises Problem 401."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if not text:
            raise _refused("missing-token", "Send Authorization: Bearer pgt_… (make one: pgtask tokens create).")
        secret = Secret.parse(text.strip()) if kind.lower() == "bearer" else None
        found = secret and self._find(secret)
        if not found:
            raise _refused("invalid-token", "This token is unknown, revoked or expired.")
        return found

    def _find(self, secret: Secret) -> Principal | None:
        now, digest = time.monotonic(), secret.digest
        with self._lock:
            until, principal = self._known.get(digest, (0.0, None))
        if until > now:
            return principal
        with self._pool.connection() as connection, in_words_of(self._pool.url):
            principal = tokens.identify(connection, secret, request.remote_addr)
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[digest] = (now + REMEMBERED, principal)
        return principal


def _refused(kind: str, detail: str) -> Problem:
    return Problem(401, kind, detail, headers=CHALLENGE)
