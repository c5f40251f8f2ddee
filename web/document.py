"""The OpenAPI 3.1 document, made from the operations themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from pgtask.version import __version__

from .contract import Operation, Section
from .inputs import JSON
from .problems import MEDIA_TYPE

BASE = "/api/v1"
LONGEST_NAME = 256
"""Characters of a name in a path: those of tasks may be as long."""

_REFERENCE = "#/components/schemas/{model}"
# Pydantic's name for Page[XShape].
_PAGE = re.compile(r"Page_(\w+?)(?:Shape)?_")
_SCHEME = "token"

# What any operation may answer, whatever it does.
_ALWAYS = (422, 429, 500, 503)


def document(sections: Iterable[Section], problem: type[BaseModel]) -> dict[str, Any]:
    """The document of these sections; `problem` is the model of all answers from 400 on."""
    given = list(sections)
    operations = [operation for section in given for operation in section.operations]
    models = _Models(operations, problem)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(BASE + operation.path, {})[operation.method.lower()] = _operation(operation, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pgtask",
            "version": __version__,
            "summary": "Background jobs on PostgreSQL.",
            "description": "Times are RFC 3339 in UTC, durations are seconds. Fields that are not known are refused in "
            "requests, and may be added to answers.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, "description": description}
            for tag, description in {section.tag: section.description for section in given}.items()
        ],
        "paths": paths,
        "components": {
            "schemas": models.definitions,
            "securitySchemes": {_SCHEME: {"type": "http", "scheme": "bearer", "description": "pgtask tokens create"}},
        },
    }


class _Models:
    """The schemas of all models, by name."""

    def __init__(self, operations: Iterable[Operation], problem: type[BaseModel]) -> None:
        wanted: dict[tuple[Any, str], None] = {(problem, "serialization"): None}
        for operation in operations:
            if operation.answer is not None:
                wanted[(operation.answer, "serialization")] = None
            if operation.body is not None:
                wanted[(operation.body, "validation")] = None
        adapters = [(str(number), mode, TypeAdapter(kind)) for number, (kind, mode) in enumerate(wanted)]
        schemas, shared = TypeAdapter.json_schemas(
            [(name, mode, adapter) for name, mode, adapter in adapters],  # type: ignore[misc]
            ref_template=_REFERENCE,
        )
        definitions: dict[str, Any] = shared.get("$defs", {})
        names = {name: _shown(name, definitions) for name in definitions}
        self.definitions = {
            shown: {**_renamed(definitions[name], names), "title": shown} for name, shown in names.items()
        }
        self._by_kind = {
            (id(kind), mode): _renamed(schemas[(str(number), mode)], names)  # type: ignore[index]
            for number, (kind, mode) in enumerate(wanted)
        }
        self.problem = self.of(problem, "serialization")

    def of(self, kind: Any, mode: str) -> dict[str, Any]:
        """The schema of a type, mostly a reference."""
        return dict(self._by_kind[(id(kind), mode)])


def _shown(name: str, all_names: Container[str]) -> str:
    """What a model is called in the document: clients that are generated from it have classes of these names."""
    if (page := _PAGE.fullmatch(name)) is not None:
        return f"{page[1]}Page"
    plain = name.removesuffix("Shape")
    return f"{plain}Answer" if plain != name and plain in all_names else plain


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(part, names) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _renamed(part, names) for key, part in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        made["$ref"] = _REFERENCE.format(model=names[reference.rpartition("/")[2]])
    return made


def _operation(operation: Operation, models: _Models) -> dict[str, Any]:
    words = inspect.getdoc(operation.handler) or ""
    summary, _, description = words.partition("\n\n")
    suffix = "" if operation.alias_of is None else f"_{operation.path.strip('/').partition('/')[0].replace('-', '_')}"
    made: dict[str, Any] = {
        "operationId": operation.id + suffix,
        "tags": [operation.tag],
        "summary": " ".join(summary.split()).rstrip("."),
        "responses": _responses(operation, models),
    }
    if operation.alias_of is not None:
        description = f"The same as {BASE}{operation.alias_of}.\n\n{description}"
    if operation.scope is not None:
        description = f"{description}\n\nScope: `{operation.scope}`.".strip()
        made["security"] = [{_SCHEME: []}]
    else:
        made["security"] = []
    if description:
        made["description"] = description
    parameters = [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)]
    if parameters:
        made["parameters"] = parameters
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": models.of(operation.body, "validation")}}}
    return made


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**63 - 1}
            if kind is int
            else {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
        }
        for name, kind in operation.path_parameters.items()
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema()
    required = schema.get("required", ())
    made = []
    for name, found in schema.get("properties", {}).items():
        given = _inlined(found, schema.get("$defs", {}))
        parameter = {"name": name, "in": "query", "required": name in required, "schema": given}
        if "description" in given:
            parameter["description"] = given.pop("description")
        if given.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        made.append(parameter)
    return made


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without references and without null, which a query cannot hold."""
    if "$ref" in schema:
        found = definitions[schema["$ref"].rpartition("/")[2]]
        return _inlined(found | {name: value for name, value in schema.items() if name != "$ref"}, definitions)
    made = {name: value for name, value in schema.items() if name not in ("title", "default") or value is not None}
    made.pop("title", None)
    kinds: Sequence[Mapping[str, Any]] = [kind for kind in made.pop("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1:
        made = _inlined(kinds[0], definitions) | made
    elif kinds:
        made["anyOf"] = [_inlined(kind, definitions) for kind in kinds]
    if "items" in made:
        made["items"] = _inlined(made["items"], definitions)
    return made


def _headers(operation: Operation) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if 412 in operation.problems:
        made.append(
            {
                "name": "If-Match",
                "in": "header",
                "description": "The ETag that a GET of it answered. What was changed since stays as it is.",
                "schema": {"type": "string"},
            }
        )
    if operation.method == "POST" and "connection" in operation.inputs:
        made.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key with the same request gets the same answer, for a day, and is done once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$"},
            }
        )
    return made


def _responses(operation: Operation, models: _Models) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status in sorted({operation.status, *operation.also}):
        made[str(status)] = {"description": HTTPStatus(status).phrase}
        if operation.answer is not None:
            content = {operation.media_type: {"schema": models.of(operation.answer, "serialization")}}
            made[str(status)]["content"] = content
    problems = {*_ALWAYS, *operation.problems}
    if operation.scope is not None:
        problems |= {401, 403}
    if operation.path_parameters:
        problems.add(404)
    if operation.query is not None:
        problems.add(414)
    if operation.body is not None:
        problems |= {400, 408, 413, 415}
    if operation.method == "POST" and "connection" in operation.inputs:
        problems.add(409)
    if operation.safe and operation.status == 200:
        made["304"] = {"description": HTTPStatus(304).phrase}
    for status in sorted(problems):
        content = {MEDIA_TYPE: {"schema": models.problem}}
        made[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return made
