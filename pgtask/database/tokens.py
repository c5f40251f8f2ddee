"""Tokens of the API."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from psycopg import errors
from psycopg.rows import tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words
from pgtask.model.errors import ConfigurationError
from pgtask.model.token import Principal, Scope, Secret

_FIND = statements.load("find_token")
_CREATE = statements.load("create_token")


def identify(connection: Connection, secret: Secret) -> Principal | None:
    """Whose token this is, None for one that is unknown, revoked or expired."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_FIND, {"prefix": secret.prefix}).fetchone()
    if row is None:
        return None
    name, digest, scopes, queues, rate_limit = row
    if not hmac.compare_digest(bytes(digest), secret.digest):
        return None
    return Principal(
        name=name,
        scopes=frozenset(map(Scope, scopes)),
        queues=None if queues is None else frozenset(queues),
        rate_limit=rate_limit,
    )


def create_token(
    connection: Connection,
    name: str,
    scopes: Iterable[Scope],
    *,
    queues: Iterable[str] | None = None,
    rate_limit: float | None = None,
    lifetime: float | None = None,
    created_by: str | None = None,
) -> Secret:
    """Makes a token and returns its text, which is not kept.

    `lifetime` is in seconds, `rate_limit` in requests a second.
    Raises ConfigurationError when the name is taken or cannot be one.
    """
    secret = Secret.draw()
    values = {
        "name": name,
        "prefix": secret.prefix,
        "digest": secret.digest,
        "scopes": sorted(set(scopes)),
        "queues": None if queues is None else sorted(set(queues)),
        "rate_limit": rate_limit,
        "lifetime": lifetime,
        "created_by": created_by,
    }
    with in_words(connection):
        try:
            connection.execute(_CREATE, values)
        except errors.UniqueViolation as error:
            raise ConfigurationError(f"There is a token '{name}' already: give this one another name.") from error
        except errors.CheckViolation as error:
            raise ConfigurationError("A token has a name of 1 to 128 bytes and at least one scope.") from error
    return secret
