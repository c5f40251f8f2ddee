"""Tokens of the API."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from psycopg import errors
from psycopg.rows import class_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import ConfigurationError, TokenExistsError, TokenNotFoundError
from pgtask.model.token import Principal, Scope, Secret, TokenRecord

_FIND = statements.load("find_token")
_CREATE = statements.load("create_token")
_LIST = statements.load("list_tokens")
_READ = statements.load("read_token")
_REVOKE = statements.load("revoke_token")
_NOTE_USE = statements.load("note_token_use")
_ANY_LIVE = statements.load("any_live_token")

_LARGEST_ID = 2**31 - 1


def identify(connection: Connection, secret: Secret, address: str | None = None) -> Principal | None:
    """Whose token this is, None for one that is unknown, revoked or expired.

    Once a minute it is noted that the token was used, from `address`.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_FIND, {"prefix": secret.prefix}).fetchone()
    if row is None:
        return None
    name, digest, scopes, queues, rate_limit, unnoted = row
    if not hmac.compare_digest(bytes(digest), secret.digest):
        return None
    if unnoted:
        connection.execute(_NOTE_USE, {"prefix": secret.prefix, "address": address})
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
    Raises TokenExistsError, ConfigurationError for what cannot be one.
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
            with connection.transaction():
                connection.execute(_CREATE, values)
        except errors.UniqueViolation as error:
            raise TokenExistsError(name) from error
        except errors.CheckViolation as error:
            raise ConfigurationError("A token has a name of 1 to 128 bytes and at least one scope.") from error
    return secret


def list_tokens(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[TokenRecord]:
    """Tokens, newest first, from below an id on; also those that have ended."""
    with reading(connection), connection.cursor(row_factory=class_row(TokenRecord)) as cursor:
        return cursor.execute(_LIST, {"before": before, "limit": limit}).fetchall()


def read_token(connection: Connection, which: int | str) -> TokenRecord:
    """A token by its id or name. Raises TokenNotFoundError."""
    id, name = (which, None) if isinstance(which, int) else (None, which)
    if id is not None and id > _LARGEST_ID:
        raise TokenNotFoundError(which)
    with in_words(connection), connection.cursor(row_factory=class_row(TokenRecord)) as cursor:
        found = cursor.execute(_READ, {"id": id, "name": name}).fetchone()
    if found is None:
        raise TokenNotFoundError(which)
    return found


def revoke_token(connection: Connection, which: int | str, *, revoked_by: str | None = None) -> TokenRecord:
    """Ends a token; one that is revoked stays so. Servers notice within two seconds. Raises TokenNotFoundError."""
    with in_words(connection), connection.transaction():
        found = read_token(connection, which)
        connection.execute(_REVOKE, {"id": found.id, "revoked_by": revoked_by})
        return read_token(connection, found.id)


def any_live(connection: Connection) -> bool:
    """Whether there is a token that permits something now."""
    with in_words(connection), connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(_ANY_LIVE).fetchone())
