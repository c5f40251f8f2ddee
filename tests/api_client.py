"""The API as a client sees it; each answer is checked against the OpenAPI document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import jsonschema
import psycopg
from flask import Flask
from pgtask.web import create_app
from werkzeug.test import TestResponse

from pgtask.config import load_settings
from pgtask.database import tokens
from pgtask.model.token import Scope

BASE = "/api/v1"
ALL = frozenset({Scope.ADMIN})


@dataclass(frozen=True, slots=True)
class Api:
    """Sends requests with a token, to the application itself."""

    app: Flask
    url: str
    token: str | None

    def holder_of(self, *scopes: Scope, queues: list[str] | None = None, **more: Any) -> Api:
        """The same API with another token, which has these scopes."""
        name = f"token {len(_all_tokens(self.url)) + 1}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            secret = tokens.create_token(connection, name, scopes, queues=queues, **more)
        return Api(self.app, self.url, secret.text)

    def anonymous(self) -> Api:
        """The same API without a token."""
        return Api(self.app, self.url, None)

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        """Sends a request below /api/v1, or to any path that starts with two slashes; checks the answer."""
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            more["json"] = body
        place = path[1:] if path.startswith("//") else BASE + path
        response = self.app.test_client().open(place, method=method, headers=headers, **more)
        if not path.startswith("//"):
            check(self.app, method, path, response)
        return response

    def get(self, path: str, **more: Any) -> TestResponse:
        """Reads."""
        return self("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        """Makes or does something."""
        return self("POST", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        """Changes something."""
        return self("PUT", path, body, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        """Deletes something."""
        return self("DELETE", path, **more)


def made_api(url: str, **settings: Any) -> Api:
    """The API on a database, with a token for everything."""
    app = create_app(load_settings({"database_url": url} | settings))
    with psycopg.connect(url, autocommit=True) as connection:
        secret = tokens.create_token(connection, "all", ALL)
    return Api(app, url, secret.text)


def problem(response: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """The problem details in an answer, which must be of this status and kind."""
    assert (response.status_code, response.mimetype) == (status, "application/problem+json"), response.get_data(
        as_text=True
    )
    found: dict[str, Any] = response.get_json()
    assert found["type"] == f"/problems/{kind}", found
    return found


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = app.extensions.setdefault("pgtask.document", {})
    if not found:
        found.update(json.loads(app.test_client().get(f"{BASE}/openapi.json").data))
    return found


def check(app: Flask, method: str, path: str, response: TestResponse) -> None:
    """Fails unless the document foresees this answer."""
    made = document(app)
    operation = _operation(made, method, BASE + path.partition("?")[0])
    if operation is None:
        assert response.status_code in (404, 405), f"{method} {path} is not in the document"
        return
    foreseen = operation["responses"].get(str(response.status_code))
    assert foreseen is not None, f"{method} {path} answered {response.status_code}: {response.get_data(as_text=True)}"
    contents = foreseen.get("content", {})
    if not contents:
        assert response.data == b""
        return
    assert response.mimetype in contents
    if response.is_json:
        schema = {"components": made["components"], **contents[response.mimetype]["schema"]}
        checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        checker.validate(json.loads(response.data))


def _operation(made: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    found = None
    for template, operations in made["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations and (found is None or "{" not in template):
            found = operations[method.lower()]
    return found


def _all_tokens(url: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SELECT name FROM pgtask.tokens").fetchall()
