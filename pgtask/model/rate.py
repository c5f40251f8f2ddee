"""How often something may start, as people write it: `100/min`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgtask.model.duration import MAX_SECONDS, parse_duration

_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_SAME = {"sec": "s", "second": "s", "m": "min", "minute": "min", "hour": "h", "d": "day"}
_FORM = re.compile(r"(\d{1,20})\s*/\s*(\S.*)", re.DOTALL)
_EXAMPLES = "write 100/min, 5/10s or 1000/h"
MAX_STARTS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts in each `period` (seconds), `burst` of them at once after a quiet time."""

    limit: int
    period: float
    burst: int

    @classmethod
    def parse(cls, text: str, burst: int | None = None) -> Rate:
        """The rate that a text such as "100/min" or "5/10s" says.

        The burst is what the rate gives in one second, at least 1, unless it is given. Raises ValueError saying what
        to write.
        """
        form = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
        if form is None:
            raise ValueError(f"{text!r} is no rate: {_EXAMPLES}")
        limit, period = int(form[1]), _seconds(text, form[2])
        if not 1 <= limit <= MAX_STARTS:
            raise ValueError(f"{text!r} is out of range for a rate: it has 1 to {MAX_STARTS} starts")
        if burst is None:
            burst = min(max(1, int(limit / period)), MAX_STARTS)
        elif type(burst) is not int or not 1 <= burst <= MAX_STARTS:
            raise ValueError(f"{burst!r} is no burst: give a whole number from 1 on")
        return cls(limit, period, burst)

    def __str__(self) -> str:
        """The rate as `parse` reads it, without its burst."""
        for unit, seconds in reversed(_PERIODS.items()):
            count = self.period / seconds
            if count.is_integer():
                return f"{self.limit}/{int(count) if count > 1 else ''}{'d' if unit == 'day' and count > 1 else unit}"
        return f"{self.limit}/{_decimal(self.period)}s"


def _seconds(text: str, period: str) -> float:
    unit = _SAME.get(period, period)
    if unit in _PERIODS:
        return _PERIODS[unit]
    try:
        # A number alone would leave open of what.
        seconds = parse_duration(period) if period[-1].isalpha() else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{text!r} is no rate: {_EXAMPLES}")
    return seconds


def _decimal(seconds: float) -> str:
    return f"{seconds:.15f}".rstrip("0").rstrip(".")
