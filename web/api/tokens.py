"""Tokens, who one is, and the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from pgtask.database import audit, tokens
from pgtask.database.connection import Connection
from pgtask.model.errors import TokenNotFoundError
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.token import Scope

from ..contract import Answer, AnyToken, Section
from ..document import BASE
from ..fields import Duration, Instant, Text
from ..inputs import Body, Query
from ..requests import caller, note, require_all_queues
from ..shapes import Page, Shape

section = Section("tokens", "Who may use the API, for what, and what they did.")

Named = Annotated[Text, Field(min_length=1, max_length=200)]
Cursor = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]


class TokenToMake(Body):
    """What a token is to be."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[ -~]*[!-~][ -~]*$", examples=["billing"])]
    """Whose it is, as the audit will say. No other token, also none that has ended, has the same."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5, strict=False, examples=[["read", "enqueue"]])]
    """What it permits; `operate` includes `read`, and `admin` everything."""
    queues: Annotated[list[Named], Field(min_length=1, max_length=100)] | None = None
    """The only queues whose jobs it sees; null for all."""
    rate_limit: Annotated[float, Field(ge=0.001, le=1e6)] | None = None
    """Requests a second; null for the server's own limit."""
    lifetime: Duration | None = None
    """How long it is good for; null for ever, until it is revoked."""


class TokenShape(Shape):
    """A token, without its secret."""

    id: int
    name: str
    prefix: str
    """The text behind pgt_, by which it is recognised."""
    scopes: list[str]
    queues: list[str] | None
    """The only queues whose jobs it sees; null for all."""
    rate_limit: float | None
    """Requests a second; null for the server's own limit."""
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None
    """To the minute."""
    last_used_from: str | None


class NewTokenShape(TokenShape):
    """A token that was just made."""

    token: str | None
    """The token itself, shown this once: null where a request is repeated with its Idempotency-Key."""


class MeShape(Shape):
    """Whose token a request carries."""

    name: str
    scopes: list[str]
    queues: list[str] | None
    """The only queues whose jobs it sees; null for all."""
    rate_limit: float | None


class AuditShape(Shape):
    """One change."""

    id: int
    at: datetime
    actor: str
    """Name of the token."""
    address: str | None
    action: str
    """Id of the operation."""
    subject: str | None
    """What was changed."""
    details: Any
    """What was asked and, where it matters, what was before."""
    request_id: str | None


class ListQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Cursor | None = None
    """`next_cursor` of the page before."""


class AuditQuery(ListQuery):
    """Which changes."""

    actor: Named | None = None
    action: Named | None = None
    subject: Named | None = None
    since: Instant | None = None


@section.get("/me", scope=AnyToken.ANY, answer=MeShape)
def get_me() -> dict[str, Any]:
    """Whose token this is, and what it permits."""
    who = caller()
    queues = None if who.queues is None else sorted(who.queues)
    return {"name": who.name, "scopes": sorted(who.scopes), "queues": queues, "rate_limit": who.rate_limit}


@section.post("/tokens", scope=Scope.ADMIN, answer=NewTokenShape, status=201, problems={403})
def create_token(connection: Connection, body: TokenToMake) -> Answer:
    """Make a token. Its text is in this answer and nowhere else."""
    require_all_queues()
    given = body.model_dump()
    secret = tokens.create_token(connection, **given, created_by=caller().name)
    note(body.name, **{name: value for name, value in given.items() if name != "name"})
    record = tokens.read_token(connection, body.name)
    shown = record_as_json(record)
    place = {"Location": f"{BASE}/tokens/{record.id}"}
    return Answer(shown | {"token": secret.text}, headers=place, kept=shown | {"token": None})


@section.get("/tokens", scope=Scope.ADMIN, answer=Page[TokenShape])
def list_tokens(connection: Connection, query: ListQuery) -> dict[str, Any]:
    """Tokens, newest first, also those that have ended, until they are pruned with the audit of their time."""
    require_all_queues()
    found = tokens.list_tokens(connection, before=_before(query), limit=query.limit + 1)
    shown = [record_as_json(token) for token in found]
    return _page(shown, query.limit)


@section.get("/tokens/{id}", scope=Scope.ADMIN, answer=TokenShape)
def get_token(connection: Connection, id: int) -> dict[str, Any]:
    """One token; one that was revoked is only in the list."""
    require_all_queues()
    record = tokens.read_token(connection, id)
    if record.revoked_at is not None:
        raise TokenNotFoundError(id)
    return record_as_json(record)


@section.delete("/tokens/{id}", scope=Scope.ADMIN)
def revoke_token(connection: Connection, id: int) -> None:
    """Revoke a token. Every server refuses it within two seconds."""
    require_all_queues()
    note(tokens.revoke_token(connection, id, revoked_by=caller().name).name)


@section.get("/audit", scope=Scope.ADMIN, answer=Page[AuditShape])
def list_audit(connection: Connection, query: AuditQuery) -> dict[str, Any]:
    """What was changed through the API, newest first."""
    require_all_queues()
    found = audit.list_audit(
        connection,
        actor=query.actor,
        action=query.action,
        subject=query.subject,
        since=query.since,
        before=_before(query),
        limit=query.limit + 1,
    )
    return _page([record_as_json(change) for change in found], query.limit)


def _before(query: ListQuery) -> int | None:
    return None if query.cursor is None else int(query.cursor)


def _page(items: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page, of which one item more was asked for to know whether there is another."""
    shown = items[:limit]
    return page_as_json(shown, str(shown[-1]["id"]) if len(items) > limit else None)
