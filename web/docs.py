"""The documentation: the OpenAPI document, a page made from it, and a page for each kind of problem."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import NotFound

from .document import BASE
from .examples import Examples
from .inputs import JSON
from .problem_kinds import KINDS
from .problems import title_of

ENDPOINTS = ("openapi", "docs", "docs_style", "problems", "problem")
"""They are for everyone: what they show is in the source."""

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_REMEMBERED = "public, max-age=3600"


def add_pages(app: Flask, document: Mapping[str, Any]) -> None:
    """Adds the document and its pages. They need no script, and load nothing but their style."""
    styles = files(__package__ or "").joinpath("static", "docs.css").read_bytes()
    reference = _Reference(document)

    @functools.lru_cache(maxsize=8)
    def described(root: str) -> str:
        return json.dumps({**document, "servers": [{"url": root or "/"}]}, ensure_ascii=False)

    @functools.lru_cache(maxsize=8)
    def page(root: str) -> str:
        return render_template(
            "docs.html",
            root=root,
            info=document["info"],
            sections=list(reference.sections()),
            schemas=reference.schemas(),
        )

    def openapi() -> Response:
        return Response(described(request.script_root), content_type=JSON)

    def docs() -> Response:
        return _page(page(request.script_root))

    def style() -> Response:
        return Response(styles, content_type="text/css; charset=utf-8", headers={"Cache-Control": _REMEMBERED})

    def problems() -> Response:
        return _page(_problems(KINDS))

    def problem(kind: str) -> Response:
        if kind not in KINDS:
            raise NotFound
        return _page(_problems({kind: KINDS[kind]}))

    for path, endpoint, view in (
        (f"{BASE}/openapi.json", "openapi", openapi),
        ("/api/docs", "docs", docs),
        ("/api/docs/style.css", "docs_style", style),
        ("/problems", "problems", problems),
        ("/problems/<name:kind>", "problem", problem),
    ):
        app.add_url_rule(path, endpoint, view, methods=["GET"])


def _problems(kinds: Mapping[str, str]) -> str:
    shown = [(kind, title_of(kind), text) for kind, text in kinds.items()]
    return render_template("problems.html", root=request.script_root, kinds=shown, alone=len(shown) == 1)


def _page(text: str) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(text, content_type="text/html; charset=utf-8", headers=headers)


class _Reference:
    """The OpenAPI document as the page shows it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]
        self._examples = Examples(self._schemas)

    def sections(self) -> Iterator[dict[str, Any]]:
        """The kinds of things, each with its operations."""
        found: dict[str, list[dict[str, Any]]] = {}
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                found.setdefault(operation["tags"][0], []).append(self._operation(method.upper(), path, operation))
        for tag in self._document["tags"]:
            yield {**tag, "operations": found.get(tag["name"], [])}

    def schemas(self) -> list[dict[str, Any]]:
        """The objects that bodies and answers are made of."""
        return [
            {"name": name, "description": schema.get("description", ""), "fields": self._fields(schema)}
            for name, schema in sorted(self._schemas.items())
        ]

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
        body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
        answers = [self._answer(status, answer) for status, answer in operation["responses"].items()]
        return {
            "method": method,
            "path": path,
            "id": operation["operationId"],
            "summary": operation["summary"],
            "paragraphs": [text for text in operation.get("description", "").split("\n\n") if text],
            "open": not operation.get("security"),
            "parameters": [
                parameter | {"type": self._examples.words(parameter["schema"])}
                for parameter in operation.get("parameters", ())
            ],
            "body": None if body is None else {"models": self._models(body), "example": self._example(body)},
            "answers": [answer for answer in answers if answer["status"] < "400"],
            "problems": [answer["status"] for answer in answers if answer["status"] >= "400"],
        }

    def _answer(self, status: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {"status": status, "description": answer["description"], "models": [], "example": None}
        for media_type, content in answer.get("content", {}).items():
            made |= {"models": self._models(content["schema"]), "media_type": media_type}
            if media_type == JSON and status < "300":
                made["example"] = self._example(content["schema"])
        return made

    def _example(self, schema: Mapping[str, Any]) -> str:
        return json.dumps(self._examples.of(schema), indent=2, ensure_ascii=False, default=str)

    def _models(self, schema: Mapping[str, Any]) -> list[str]:
        if "$ref" in schema:
            return [schema["$ref"].rpartition("/")[2]]
        kinds = schema.get("anyOf", schema.get("oneOf", ()))
        return [name for kind in kinds for name in self._models(kind)]

    def _fields(self, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
        required = schema.get("required", ())
        return [
            {
                "name": name,
                "type": self._examples.words(found),
                "models": self._models(found.get("items", found)),
                "required": name in required,
                "description": found.get("description", ""),
            }
            for name, found in schema.get("properties", {}).items()
        ]
