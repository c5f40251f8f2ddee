"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
MAX_SECONDS = 1e9


def parse_duration(value: float | str | timedelta) -> float:
    """Seconds in a duration given as a number of seconds, a timedelta or text such as "90s" or "1h30m".

    Raises ValueError when it is malformed, negative, not finite, or over a thousand million seconds.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        seconds = _parse_text(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no duration: give seconds or text such as '90s' or '1h30m'")  # noqa: TRY004
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{value!r} is out of range for a duration")
    return seconds


def _parse_text(text: str) -> float:
    stripped = text.strip()
    try:
        return float(stripped)
    except ValueError:
        pass
    seconds, position = 0.0, 0
    while match := _PART.match(stripped, position):
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not stripped or position != len(stripped):
        raise ValueError(f"{text!r} is no duration: give seconds or text such as '90s' or '1h30m'")
    return seconds
