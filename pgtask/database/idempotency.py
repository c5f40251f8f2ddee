"""Answers to requests with an Idempotency-Key: kept with what was done, repeated for who asks again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.rows import tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection

_CLAIM = statements.load("claim_idempotency_key")
_READ = statements.load("read_idempotency_key")
_KEEP = statements.load("keep_answer")


@dataclass(frozen=True, slots=True)
class Kept:
    """What was asked with a key before, by its hash, and the answer."""

    request_hash: bytes
    status: int
    headers: Mapping[str, str]
    body: str


def claim(connection: Connection, actor: str, key: str, request_hash: bytes) -> Kept | None:
    """Takes a key for this transaction, or returns what was answered before.

    Waits while another transaction is at it, up to the connection's lock_timeout.
    """
    values = {"actor": actor, "key": key}
    with connection.cursor(row_factory=tuple_row) as cursor:
        while cursor.execute(_CLAIM, values | {"request_hash": request_hash}).fetchone() is None:
            row = cursor.execute(_READ, values).fetchone()
            if row is not None:
                return Kept(bytes(row[0]), *row[1:])
    return None


def keep(connection: Connection, actor: str, key: str, status: int, headers: Mapping[str, str], body: str) -> None:
    """Keeps the answer under the key that this transaction has taken."""
    values = {"actor": actor, "key": key, "status": status, "headers": json.dumps(dict(headers)), "body": body}
    connection.execute(_KEEP, values)
