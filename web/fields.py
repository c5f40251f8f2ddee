"""Kinds of values that requests carry in more than one way: durations, priorities, instants, lists."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema

from pgtask.model.duration import parse_duration

_DURATION = r"^\s*(\d+(\.\d+)?\s*(ms|s|min|m|h|d|w)\s*)+$"
_NAMED = {"low": 0, "normal": 1, "high": 2, "critical": 3}


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _priority(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _NAMED:
            raise ValueError(f"Write one of {', '.join(_NAMED)}, or a number from -100 to 100")
        return _NAMED[value]
    return _whole(value)


def _split(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


WHOLE = BeforeValidator(_whole)
"""Lets 2.0 pass for the integer that it is in JSON."""

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

# What PostgreSQL holds, with room for time zones.
Instant = Annotated[AwareDatetime, Field(strict=False)]
"""An RFC 3339 time with its offset."""

Text = Annotated[str, Field(pattern=r"^[^\u0000]*$")]
"""Text that PostgreSQL can store."""

Listed = BeforeValidator(_split)
"""Reads a list from text with commas, as in queries."""
