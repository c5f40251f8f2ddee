"""Kinds of values that requests carry in more than one way: durations, priorities, instants, lists."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema

from pgtask.model.duration import parse_duration

_DURATION = r"^\s*(\d+(\.\d+)?\s*(ms|s|min|m|h|d|w)\s*)+$"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)
_NAMED = {"low": 0, "normal": 1, "high": 2, "critical": 3}


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _priority(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _NAMED:
            raise ValueError(f"Write one of {', '.join(_NAMED)}, or a number from -100 to 100")
        return _NAMED[value]
    return value


def _written_out(value: Any) -> Any:
    # pydantic would also take seconds since 1970, as numbers and as text.
    if not isinstance(value, str) or not _INSTANT.match(value):
        raise ValueError("Write a time with its offset, such as 2026-12-24T18:00:00Z")
    return value


def _split(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, le=1e9),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0, "maximum": 1e9}, {"type": "string", "pattern": _DURATION}],
            "description": 'Seconds, or text such as "2s", "5m" or "1h 30m".',
            "examples": [60, "5m"],
        },
        mode="validation",
    ),
]
"""Seconds, given as a number or as text with units."""

Priority = Annotated[
    int,
    BeforeValidator(_priority),
    Field(ge=-100, le=100),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": -100, "maximum": 100}, {"type": "string", "enum": list(_NAMED)}],
            "description": "Bigger first.",
            "examples": [2, "high"],
        },
        mode="validation",
    ),
]
"""A priority, as a number or a name."""

Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
"""An RFC 3339 time with its offset."""

Text = Annotated[str, Field(pattern=r"^[^\u0000]*$")]
"""Text that PostgreSQL can store."""

Listed = BeforeValidator(_split)
"""Reads a list from text with commas, as in queries."""
