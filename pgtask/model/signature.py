"""What arguments a task takes, read from its function once and checked at each enqueue."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pgtask.model.errors import PayloadError, TaskError

_JSON_TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    type(None): {"type": "null"},
}


class Signature:
    """The keyword arguments of a task's function, and which parameter takes the JobContext, if any."""

    __slots__ = ("_names", "_open", "_required", "_title", "context_parameter", "schema")

    def __init__(self, function: Callable[..., Any], title: str, context_type: type) -> None:
        """Raises TaskError for a function whose parameters cannot be given by keyword."""
        self._title = title
        self.context_parameter: str | None = None
        self._open = False
        names: list[str] = []
        required: list[str] = []
        properties: dict[str, Any] = {}
        hints = _hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            hint = hints.get(name, parameter.annotation)
            if hint is context_type or hint == context_type.__name__:
                self.context_parameter = name
            elif parameter.kind is parameter.VAR_KEYWORD:
                self._open = True
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise TaskError(
                    f"Task {title}: parameter {name!r} cannot be given by keyword, but a payload gives all its "
                    "arguments so. Make it an ordinary parameter."
                )
            else:
                names.append(name)
                properties[name] = _schema(hint)
                if parameter.default is parameter.empty:
                    required.append(name)
        self._names = frozenset(names)
        self._required = tuple(required)
        self.schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": self._open,
        }

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raises PayloadError, naming what is missing or unknown, when the function cannot take `arguments`."""
        given = arguments.keys()
        missing = [name for name in self._required if name not in given]
        unknown = [] if self._open else [name for name in given if name not in self._names]
        if missing or unknown:
            raise PayloadError(_complaint(self._title, missing, unknown, self.schema["properties"]))


def check_against(schema: Mapping[str, Any], title: str, arguments: Mapping[str, Any]) -> None:
    """As `Signature.check`, by the schema that a task has registered: any object in the words of JSON Schema."""
    known = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    unknown = [] if schema.get("additionalProperties", True) else [name for name in arguments if name not in known]
    if missing or unknown:
        raise PayloadError(_complaint(title, missing, unknown, known))


def _complaint(title: str, missing: list[str], unknown: list[str], known: Iterable[str]) -> str:
    parts = []
    if missing:
        parts.append(f"{', '.join(map(repr, missing))} {_is(missing)} missing")
    if unknown:
        parts.append(f"{', '.join(map(repr, unknown))} {_is(unknown)} unknown")
    return f"Task {title}: {' and '.join(parts)}. It takes: {', '.join(known) or 'no arguments'}."


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    # Annotations that name things imported only for type checkers cannot be resolved; the raw text serves then.
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - evaluating annotations runs anything
        return {}


def _schema(hint: Any) -> dict[str, Any]:
    if hint in _JSON_TYPES:
        return dict(_JSON_TYPES[hint])
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part) for part in typing.get_args(hint)]}
    if origin is typing.Literal:
        return {"enum": list(typing.get_args(hint))}
    if origin in _JSON_TYPES:
        return dict(_JSON_TYPES[origin])
    return {}
