"""Kinds of values that requests carry in more than one way: durations, priorities, instants, lists."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema

from pgtask.model.duration import parse_duration

# Less than what is understood, but all of it is within range.
_DURATION = r"^[0-9]{1,4}((\.[0-9]{1,3})?(ms|s|m|min|h)( ?[0-9]{1,4}(ms|s|m|min))?|d)$"
_TIME_LIMIT = r"^[1-9][0-9]{0,3}((\.[0-9]{1,3})?(ms|s|m|min|h)( ?[1-9][0-9]{0,3}(ms|s|m|min))?|d)$"
_NAMED = {"low": 0, "normal": 1, "high": 2, "critical": 3}
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
# What Python reads back from PostgreSQL in any time zone; what lies beyond is as good as never.
_FIRST, _LAST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def whole(value: Any) -> Any:
    """A number that is whole as an integer, as which JSON Schema counts 2.0, too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _priority(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _NAMED:
            raise ValueError(f"Write one of {', '.join(_NAMED)}, or a number from -100 to 100")
        return _NAMED[value]
    return whole(value)


def _written_out(value: Any) -> Any:
    # Without this, numbers and dates alone would be taken for times.
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("Write a time as 2026-12-24T18:00:00Z, with Z or its offset from UTC")
    return value


def _held(value: datetime) -> datetime:
    try:
        return min(max(value.astimezone(UTC), _FIRST), _LAST)
    except OverflowError:
        return _FIRST if value.year == 1 else _LAST


def _of_bytes(most: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value.encode()) > most:
            raise ValueError(f"It has more than {most} bytes")
        return value

    return AfterValidator(check)


def _name_schema(most: int) -> WithJsonSchema:
    # JSON Schema counts characters: all up to a quarter of the bytes fit, and longer ones of ASCII.
    fits = [
        {"pattern": r"^[\u0001-\u007f]*$", "maxLength": most},
        {"pattern": r"^[^\u0000]*$", "maxLength": most // 4},
    ]
    return WithJsonSchema({"type": "string", "minLength": 1, "anyOf": fits}, mode="validation")


def _split(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


WHOLE = BeforeValidator(whole)
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

TimeLimit = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=1e9),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9},
                {"type": "string", "pattern": _TIME_LIMIT},
            ],
            "description": 'Seconds, or text such as "2s", "5m" or "1h 30m"; more than none.',
            "examples": [30, "5m"],
        },
        mode="validation",
    ),
]
"""Seconds, more than none."""

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
Instant = Annotated[
    AwareDatetime,
    Field(strict=False, examples=["2026-12-24T18:00:00Z"]),
    BeforeValidator(_written_out),
    AfterValidator(_held),
]
"""An RFC 3339 time with its offset."""

_NO_NUL = r"^[^\u0000]*$"

Text = Annotated[str, Field(pattern=_NO_NUL)]
"""Text that PostgreSQL can store."""

QueueName = Annotated[str, Field(min_length=1, max_length=128, pattern=_NO_NUL), _of_bytes(128), _name_schema(128)]
"""The name of a queue."""

TaskName = Annotated[str, Field(min_length=1, max_length=256, pattern=_NO_NUL), _of_bytes(256), _name_schema(256)]
"""The name of a task."""

Listed = BeforeValidator(_split)
"""Reads a list from text with commas, as in queries."""

JobId = Annotated[int, Field(ge=1, le=2**63 - 1), WHOLE]
"""The id of a job."""

Limit = Annotated[int, Field(ge=1, le=1000)]
"""How many items a page has at most."""
