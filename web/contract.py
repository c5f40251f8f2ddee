"""What the API offers: operations with their paths, rights, inputs and answers; routes and OpenAPI come from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel

from pgtask.model.token import Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])


class AnyToken(StrEnum):
    """In place of a scope: whoever has a token, whatever it is for."""

    ANY = "any"


Rights = Scope | AnyToken | None
"""What a caller needs: a scope, any token, or nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers where JSON with the operation's usual status would not do."""

    content: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: Any = None
    """What is kept and repeated for an Idempotency-Key, where that must not be the content, since it is secret."""
    tagged: Any = None
    """What the ETag stands for where that is less than all: what is set, without counts that change by themselves. So
    a busy thing can be changed with If-Match; a GET of it is always answered in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. Its id is the handler's name, its words the handler's docstring."""

    method: str
    path: str
    """As in OpenAPI, below /api/v1: /queues/{name}/pause."""
    tag: str
    handler: Callable[..., Any]
    scope: Rights
    """What the caller must be permitted; None lets everyone in."""
    answer: type | None
    """The model of its JSON, None for no content."""
    status: int
    problems: frozenset[int]
    """Statuses from 400 on that it answers with, beside those that all have."""
    audited: bool
    """Whether each call is a line in the audit; for what enqueues, the setting audit_enqueues decides."""
    alone: bool = False
    """Whether its handler is one statement, or opens a transaction where it needs one, and writes its own audit."""
    also: frozenset[int] = frozenset()
    """Further statuses below 400, with the same model."""
    media_type: str = "application/json"
    alias_of: str | None = None

    @property
    def id(self) -> str:
        """Its name in OpenAPI."""
        return self.handler.__name__

    @property
    def safe(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def inputs(self) -> dict[str, Any]:
        """What the handler takes, by name: path parameters, `query`, `body`, `connection`, `pool`."""
        return _inputs(self.handler)

    @property
    def query(self) -> type[BaseModel] | None:
        """The model of its query."""
        return self.inputs.get("query")

    @property
    def body(self) -> Any:
        """The type of its body: a model, or one of several."""
        return self.inputs.get("body")

    @property
    def path_parameters(self) -> dict[str, Any]:
        """Types of the parameters in its path."""
        return {name: kind for name, kind in self.inputs.items() if f"{{{name}}}" in self.path}


@cache
def _inputs(handler: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(handler)
    return {name: hints[name] for name in inspect.signature(handler).parameters}


@dataclass(slots=True)
class Section:
    """Operations on one kind of thing."""

    tag: str
    description: str
    operations: list[Operation] = field(default_factory=list)

    def get(self, path: str, *, scope: Rights = Scope.READ, **more: Any) -> Callable[[Handler], Handler]:
        """Declares an operation that reads. `more` as in `operation`."""
        return self.operation("GET", path, scope=scope, **more)

    def post(self, path: str, *, scope: Rights, **more: Any) -> Callable[[Handler], Handler]:
        """Declares an operation that makes or does something."""
        return self.operation("POST", path, scope=scope, **more)

    def put(self, path: str, *, scope: Rights, **more: Any) -> Callable[[Handler], Handler]:
        """Declares an operation that changes something."""
        return self.operation("PUT", path, scope=scope, **more)

    def patch(self, path: str, *, scope: Rights, **more: Any) -> Callable[[Handler], Handler]:
        """Declares an operation that changes what is given, and nothing else."""
        return self.operation("PATCH", path, scope=scope, **more)

    def delete(self, path: str, *, scope: Rights, status: int = 204, **more: Any) -> Callable[[Handler], Handler]:
        """Declares an operation that deletes something."""
        return self.operation("DELETE", path, scope=scope, status=status, **more)

    def operation(
        self,
        method: str,
        path: str,
        *,
        scope: Rights,
        answer: type | None = None,
        status: int = 200,
        problems: frozenset[int] | set[int] = frozenset(),
        audited: bool = True,
        alone: bool = False,
        also: frozenset[int] | set[int] = frozenset(),
        media_type: str = "application/json",
        aliases: tuple[str, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declares an operation; `aliases` are further paths that answer the same."""

        def declare(handler: Handler) -> Handler:
            for place in (path, *aliases):
                self.operations.append(
                    Operation(
                        method=method,
                        path=place,
                        tag=self.tag,
                        handler=handler,
                        scope=scope,
                        answer=answer,
                        status=status,
                        problems=frozenset(problems),
                        audited=audited and not alone and method != "GET",
                        alone=alone,
                        also=frozenset(also),
                        media_type=media_type,
                        alias_of=None if place == path else path,
                    )
                )
            return handler

        return declare
