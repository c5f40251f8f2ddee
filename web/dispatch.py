"""From a request to its operation and back: rights, inputs, one transaction, idempotency, audit, JSON."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from flask import Response, request
from pydantic import TypeAdapter

from pgtask.database import audit, idempotency
from pgtask.database.connection import Connection
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.errors import BusyError
from pgtask.model.token import Scope

from . import inputs
from .conditional import etag_of, not_modified
from .contract import Answer, Operation
from .problems import Problem
from .requests import asked

REPLAYED = "Idempotency-Replayed"

_REMEMBERED = 10.0
"""Seconds after which a changed setting audit_enqueues is heeded."""


class Dispatcher:
    """Runs operations on connections of a pool."""

    def __init__(self, pool: Pool) -> None:
        """`pool` leads to the database."""
        self._pool = pool
        self._audits_enqueues = (float("-inf"), True)

    def view(self, operation: Operation) -> Callable[..., Response]:
        """The Flask view of an operation."""
        query = operation.query
        body = None if operation.body is None else TypeAdapter(operation.body)
        takes = operation.inputs

        def run(**path: Any) -> Response:
            arguments = dict(path)
            if query is not None:
                arguments["query"] = inputs.read_query(query)
            elif request.args:
                raise inputs.refused(next(iter(request.args)), "this takes no query")
            if body is not None:
                arguments["body"] = inputs.read_body(body)
            elif not operation.safe:
                inputs.require_no_body()
            if "pool" in takes:
                arguments["pool"] = self._pool
            if "connection" not in takes:
                return _response(operation, operation.handler(**arguments))
            with self._pool.connection() as connection, in_words_of(self._pool.url):
                if operation.safe or (operation.alone and "Idempotency-Key" not in request.headers):
                    return _response(operation, operation.handler(connection=connection, **arguments))
                return self._change(operation, connection, arguments)

        run.__name__ = operation.id
        return run

    def _change(self, operation: Operation, connection: Connection, arguments: dict[str, Any]) -> Response:
        """Runs an operation that changes something: all that it does, its audit and its kept answer, or nothing."""
        record, key = asked(), request.headers.get("Idempotency-Key")
        actor = record.principal.name if record.principal else "anonymous"
        with ExitStack() as transaction:
            transaction.enter_context(connection.transaction())
            if key is not None:
                kept = _claim(connection, actor, key)
                if kept is not None:
                    return kept
            content = operation.handler(connection=connection, **arguments)
            response = _response(operation, content)
            audited = self._audits(operation, connection)
            # What remains goes in one round trip, the COMMIT with it.
            with connection.pipeline():
                if key is not None:
                    headers = {
                        name: response.headers[name] for name in ("Location", "ETag") if name in response.headers
                    }
                    text = response.get_data(as_text=True)
                    if isinstance(content, Answer) and content.kept is not None:
                        text = _as_text(content.kept)
                    idempotency.keep(connection, actor, key, response.status_code, headers, text)
                if audited:
                    audit.write(
                        connection,
                        actor=actor,
                        address=request.remote_addr,
                        action=operation.id,
                        subject=record.subject,
                        details=record.details,
                        request_id=record.request_id,
                    )
                transaction.close()
            return response

    def _audits(self, operation: Operation, connection: Connection) -> bool:
        if operation.scope is not Scope.ENQUEUE or not operation.audited:
            return operation.audited
        asked_at, wanted = self._audits_enqueues
        now = time.monotonic()
        if now - asked_at > _REMEMBERED:
            wanted = audit.enqueues_are_audited(connection)
            self._audits_enqueues = (now, wanted)
        return wanted


def _claim(connection: Connection, actor: str, key: str) -> Response | None:
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Problem(422, "invalid-idempotency-key", "An Idempotency-Key has 1 to 255 printable ASCII characters.")
    asked_for = b"\0".join((request.method.encode(), request.full_path.encode(), inputs.body_bytes()))
    fingerprint = hashlib.sha256(asked_for).digest()
    try:
        with in_words_of(""):
            kept = idempotency.claim(connection, actor, key, fingerprint)
    except BusyError:
        raise Problem(
            409,
            "request-in-progress",
            "A request with this Idempotency-Key is being worked on. Ask again in a moment.",
            headers={"Retry-After": "1"},
        ) from None
    if kept is None:
        return None
    if kept.request_hash != fingerprint:
        raise Problem(409, "idempotency-key-reused", "This Idempotency-Key was used for another request.")
    headers = dict(kept.headers) | {REPLAYED: "true"}
    return Response(kept.body, kept.status, headers, content_type=inputs.JSON if kept.body else None)


def _response(operation: Operation, content: Any) -> Response:
    answer = content if isinstance(content, Answer) else Answer(content)
    if isinstance(answer.content, Response):
        return answer.content
    status = answer.status or operation.status
    if operation.answer is None and answer.content is None:
        return Response(status=status, headers=dict(answer.headers))
    response = Response(_as_text(answer.content), status, dict(answer.headers), content_type=inputs.JSON)
    if answer.tagged is not None:
        response.headers["ETag"] = etag_of(answer.tagged)
    elif operation.safe and status == 200:
        response.headers.setdefault("ETag", etag_of(answer.content))
        return not_modified(response)
    return response


def _as_text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
