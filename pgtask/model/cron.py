"""Cron expressions: which are understood, and which times of a clock they name. The only module that knows croniter."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pgtask.model.errors import ScheduleError

Seconds = Literal["first", "last"]
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Field(NamedTuple):
    """One field of an expression: its name, the least and the greatest value, and names of values."""

    name: str
    low: int
    high: int
    names: dict[str, int]

    @property
    def count(self) -> int:
        """How many values there are; Sunday is 0 and 7."""
        return min(self.high, 6) - self.low + 1 if self.name == "day of week" else self.high - self.low + 1


MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
WEEKDAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
FIELDS = (
    Field("minute", 0, 59, {}),
    Field("hour", 0, 23, {}),
    Field("day of month", 1, 31, {}),
    Field("month", 1, 12, MONTHS),
    Field("day of week", 0, 7, WEEKDAYS),
)
SECOND = Field("second", 0, 59, {})

_VALUE = r"[0-9]+|[a-z]+"
_PART = re.compile(rf"(?:(?P<low>\*|{_VALUE})(?:-(?P<high>{_VALUE}))?)(?:/(?P<step>[0-9]+))?")
_COUNTED = re.compile(rf"({_VALUE})#[1-5]")
_LAST_WEEKDAY = re.compile(r"([0-7]|sun|mon|tue|wed|thu|fri|sat)l")
_RANDOM = re.compile(r"[rh](?:$|[(/])")
_NEAREST = re.compile(r"(?:[0-9]+|l)w|w[0-9]+")
_EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001 - what clocks show has no zone


class Cron:
    """A cron expression: the times of a clock that it names, whatever the time zone."""

    def __init__(self, text: str, seconds: Seconds | None = None) -> None:
        """Raises ScheduleError when the expression is not understood or names no time that ever comes."""
        from croniter import croniter

        written = ALIASES.get(text.lower(), text)
        self.tokens: dict[str, str] = {}
        for field, token in zip(_layout(written, seconds), written.lower().split(), strict=True):
            _check(field, token, text)
            self.tokens[field.name] = token
        self._check_days(text)
        last = _LAST_WEEKDAY.sub(lambda found: f"l{_number(found[1], FIELDS[4])}", self.tokens["day of week"])
        ordered = [*(self.tokens[field.name] for field in FIELDS[:4]), last]
        if "second" in self.tokens:
            ordered.append(self.tokens["second"])
        # The "bug" is Vixie's rule for fields that begin with *: then both days must match, as pg_cron has it too.
        self._croniter = croniter(" ".join(ordered), _EPOCH, ret_type=datetime, implement_cron_bug=True)
        if self.after(_EPOCH) is None:
            raise ScheduleError(f"{text!r} is never due: no such day exists in the months it names.")

    @property
    def wall_clock(self) -> bool:
        """Whether hours and minutes are all fixed: no *, no step, and not every value there is."""
        named = self.values()
        return all(not set("*/") & set(self.tokens[field]) and named[field] is not None for field in ("minute", "hour"))

    def values(self) -> dict[str, list[int | str] | None]:
        """The values of each field in order, with "l" for the last day of the month; None is every value."""
        names = [*(field.name for field in FIELDS), "second"]
        expanded: list[list[int | str]] = self._croniter.expanded
        return {name: None if "*" in values else values for name, values in zip(names, expanded, strict=False)}

    def after(self, local: datetime) -> datetime | None:
        """The first time strictly after one that clocks show, both without a zone; None when there is none any more."""
        from croniter import CroniterBadDateError

        # A copy, because croniter keeps where it stands, and threads may share a schedule.
        cron: Any = copy.copy(self._croniter)
        try:
            found: datetime = cron.get_next(start_time=local)
        except (CroniterBadDateError, OverflowError):
            return None
        return found

    def _check_days(self, text: str) -> None:
        day, weekday = self.tokens["day of month"], self.tokens["day of week"]
        parts = weekday.split(",")
        special = [part for part in parts if "#" in part or _LAST_WEEKDAY.fullmatch(part)]
        if not special:
            return
        if len(special) < len(parts):
            raise ScheduleError(
                f"{text!r} mixes plain weekdays with counted ones ({special[0]!r}): make it two schedules."
            )
        if not day.startswith("*"):
            raise ScheduleError(
                f"{text!r} has a day of month beside {special[0]!r}: write * for one of them, or make it two schedules."
            )


def _layout(text: str, seconds: Seconds | None) -> tuple[Field, ...]:
    """The fields of an expression in the order in which they are written."""
    count = len(text.split())
    if text.startswith("@"):
        raise ScheduleError(f"{text!r} is unknown: write {', '.join(ALIASES)}, or '@every 30s'.")
    if seconds not in {None, "first", "last"}:
        raise ScheduleError(f"seconds is {seconds!r}: it says where they stand, 'first' or 'last'.")
    if count == 5 and seconds is None:
        return FIELDS
    if count == 6 and seconds is not None:
        return (SECOND, *FIELDS) if seconds == "first" else (*FIELDS, SECOND)
    if count == 5:
        raise ScheduleError(
            f"{text!r} has five fields, so none for seconds: leave out seconds={seconds!r}, or write six."
        )
    if count == 6:
        raise ScheduleError(f"{text!r} has six fields: say where seconds stand with seconds='first' or seconds='last'.")
    if count == 7:
        raise ScheduleError(f"{text!r} has seven fields: years are not understood; give a start and an end instead.")
    raise ScheduleError(
        f"{text!r} has {count} field{'s' * (count != 1)}: write five, minute, hour, day of month, month and day of week, "
        "such as '0 8 * * mon-fri'."
    )


def _check(field: Field, token: str, text: str) -> None:
    for part in token.split(","):
        fault = _fault(field, part, alone=part == token)
        if fault:
            raise ScheduleError(f"{fault[0].upper()}{fault[1:]} (in {text!r}).")


def _fault(field: Field, part: str, *, alone: bool) -> str | None:
    """What is wrong with one element of a field's list, and what to write instead."""
    if advice := _foreign(field, part):
        return advice
    if part == "*":
        return None if alone else f"{field.name}: * stands for every value already, leave out the others"
    if field.name == "day of month" and part == "l":
        return None
    if field.name == "day of week" and (found := _LAST_WEEKDAY.fullmatch(part) or _COUNTED.fullmatch(part)):
        return _unknown(found[1], field)
    match = _PART.fullmatch(part)
    if match is None:
        return f"{field.name} {part!r} is not understood: write values, a-b, */n or lists of them"
    low, high, step = match["low"], match["high"], match["step"]
    for value in (low, high):
        if value not in {None, "*"} and (fault := _unknown(value, field)):
            return fault
    if step and not 0 < int(step) < field.count:
        longest = f"{field.name} {part!r}: a step goes from 1 to {field.count - 1}"
        return f"{longest}; for longer intervals write @every, such as '@every 90m'"
    if high is None:
        return None
    return _range_fault(field, part, _number(low, field), _number(high, field), stepped=bool(step))


def _range_fault(field: Field, part: str, low: int, high: int, *, stepped: bool) -> str | None:
    if field.name == "day of week" and (low, high) != (0, 7):
        if low % 7 == high % 7:
            return f"{field.name} {part!r} begins where it ends: write one value, or *"
        low, high = low % 7, high or 7
    if low == high:
        return f"{field.name} {part!r} begins where it ends: write one value, or *"
    if low > high and stepped:
        return f"{field.name} {part!r} goes over the end with a step: write the values as a list"
    return None


def _foreign(field: Field, part: str) -> str | None:
    """Advice about what other programs understand."""
    if part == "?":
        return f"{field.name} '?' is not understood: write * instead"
    if _RANDOM.match(part):
        return f"{field.name} {part!r}: random and hashed values are not understood, write a value, and a jitter to spread jobs"
    if field.name == "day of month" and _NEAREST.fullmatch(part):
        return f"{field.name} {part!r}: the nearest working day (W) is not understood, write a day, or weekdays"
    return None


def _unknown(value: str, field: Field) -> str | None:
    """What is wrong with one value or name."""
    if value.isdigit():
        if field.low <= int(value) <= field.high:
            return None
        return f"{field.name} {value} is out of range: it goes from {field.low} to {field.high}"
    if value in field.names:
        return None
    names = f", or {', '.join(field.names)}" if field.names else ""
    return f"{field.name} {value!r} is unknown: write {field.low} to {field.high}{names}"


def _number(value: str, field: Field) -> int:
    return int(value) if value.isdigit() else field.names[value]
