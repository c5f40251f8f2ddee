"""The fields of a cron expression and what may be written in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what it counts, from which to which value, and the names of values."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict, hash=False)

    @property
    def count(self) -> int:
        """How many values there are. Sunday is both 0 and 7."""
        return 7 if self.name == "day of week" else self.high - self.low + 1


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SECOND = Field("second", 0, 59)
DAY = Field("day of month", 1, 31)
WEEKDAY = Field("day of week", 0, 7, {name: value for value, name in enumerate(_WEEKDAYS)})
FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    DAY,
    Field("month", 1, 12, {name: value for value, name in enumerate(_MONTHS, 1)}),
    WEEKDAY,
)

_VALUE = r"[0-9]+|[a-z]+"
_PART = re.compile(rf"(?:\*|(?P<low>{_VALUE})(?:-(?P<high>{_VALUE}))?)(?:/(?P<step>[0-9]+))?")
_COUNTED = re.compile(rf"({_VALUE})#([0-9]+)")
LAST_WEEKDAY = re.compile(rf"([0-7]|{'|'.join(_WEEKDAYS)})l")
"""The last Friday of the month: fril or 5l."""
_RANDOM = re.compile(r"[rh](?:$|[(/])")
_NEAREST = re.compile(r"(?:[0-9]+|l)w|w[0-9]+")


def number(value: str, of: Field) -> int:
    """The number of a value or name."""
    return int(value) if value.isdigit() else of.names[value]


def check(of: Field, token: str) -> str | None:
    """What is wrong with a field as it is written, in small letters, and what to write instead."""
    parts = token.split(",")
    if len(parts) > 1 and "*" in parts:
        return f"{of.name} {token!r}: * stands for every value, leave out the others"
    return next(filter(None, (_foreign(of, part) or _fault(of, part) for part in parts)), None)


def _fault(of: Field, part: str) -> str | None:
    """What is wrong with one element of a list."""
    if (of is DAY and part == "l") or (of is WEEKDAY and LAST_WEEKDAY.fullmatch(part)):
        return None
    if of is WEEKDAY and (counted := _COUNTED.fullmatch(part)):
        weeks = None if 1 <= int(counted[2]) <= 5 else f"{of.name} {part!r}: count weekdays from #1 to #5"
        return _unknown(of, counted[1]) or weeks
    match = _PART.fullmatch(part)
    if match is None:
        return f"{of.name} {part!r} is not understood: write values, a-b, */n, or several with commas and no spaces"
    low, high, step = match["low"], match["high"], match["step"]
    if fault := (low and _unknown(of, low)) or (high and _unknown(of, high)):
        return fault
    if step and not 1 <= int(step) < of.count:
        return f"{of.name} {part!r}: a step goes from 1 to {of.count - 1}, write @every for other intervals"
    return _range(of, part, number(low, of), number(high, of), stepped=bool(step)) if high else None


def _foreign(of: Field, part: str) -> str | None:
    """Advice about what other programs understand."""
    if part == "?":
        return f"{of.name} '?' is not understood: write * instead"
    if _RANDOM.match(part):
        return f"{of.name} {part!r} is not understood: write a value, and a jitter for the schedule to spread its jobs"
    if of is DAY and _NEAREST.fullmatch(part):
        return f"{of.name} {part!r} is not understood, nearest working days are not counted: write a day, or weekdays"
    return None


def _unknown(of: Field, value: str) -> str | None:
    """What is wrong with one value or name."""
    if value.isdigit():
        if of.low <= int(value) <= of.high:
            return None
        return f"{of.name} {value} is out of range: write {of.low} to {of.high}"
    if value in of.names:
        return None
    names = f", or {', '.join(of.names)}" if of.names else ""
    return f"{of.name} {value!r} is unknown: write {of.low} to {of.high}{names}"


def _range(of: Field, part: str, low: int, high: int, *, stepped: bool) -> str | None:
    """What is wrong with a range. Sunday begins a week as 0 and ends one as 7."""
    if of is WEEKDAY and (low, high) != (0, 7):
        if low % 7 == high % 7:
            high = low
        else:
            low, high = low % 7, high or 7
    if low == high:
        return f"{of.name} {part!r} begins where it ends: write one value, or *"
    if low > high and stepped:
        return f"{of.name} {part!r} goes over the end with a step: write the values with commas"
    return None
