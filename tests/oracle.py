"""When schedules are due, found by brute force: every minute of a time zone is looked at.

It shares nothing with pgtask or croniter, so that it can tell when they are wrong.
"""

from __future__ import annotations

import calendar
import functools
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
_WORDS = {
    3: {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6}
    | {"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
    4: {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6},
}
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class Moment(NamedTuple):
    """A minute in UTC, and what clocks show then."""

    instant: datetime
    shown: datetime


def walk(zone: ZoneInfo, since: datetime, until: datetime) -> list[Moment]:
    """All minutes from one to another, which is not among them."""
    count = (until - since) // MINUTE
    instants = (since.astimezone(UTC) + number * MINUTE for number in range(count))
    return [Moment(instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)) for instant in instants]


def due(expression: str, minutes: list[Moment]) -> list[datetime]:
    """The ticks of a five-field expression among minutes in a row. Clocks must not be put back in the first hours."""
    times = _times(expression)
    if _follows_elapsed_time(expression):
        return [moment.instant for moment in minutes if _names(expression, times, moment.shown)]
    found, seen, expected = [], set[datetime](), minutes[0].shown
    for instant, shown in minutes:
        fresh = [shown] if shown not in seen else []
        while expected < shown:
            fresh.append(expected)
            expected += MINUTE
        if any(_names(expression, times, one) for one in fresh):
            found.append(instant)
        seen.update(fresh)
        expected = shown + MINUTE
    return found


def names(expression: str, shown: datetime) -> bool:
    """Whether a time on the clock is one that the expression names."""
    return _names(expression, _times(expression), shown)


def following(expression: str, shown: datetime) -> datetime:
    """The first time named that is later than one on the clock."""
    day = shown.date()
    while True:
        if _on_day(expression, day):
            for hour, minute in sorted(_times(expression)):
                found = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - what clocks show
                if found > shown:
                    return found
        day += timedelta(days=1)


def _names(expression: str, times: frozenset[tuple[int, int]], shown: datetime) -> bool:
    return (shown.hour, shown.minute) in times and _on_day(expression, shown.date())


@functools.cache
def _times(expression: str) -> frozenset[tuple[int, int]]:
    minutes, hours = expression.split()[:2]
    return frozenset(product(_values(hours, 1), _values(minutes, 0)))


def _follows_elapsed_time(expression: str) -> bool:
    minute, hour = expression.split()[:2]
    return any(mark in minute + hour for mark in "*/") or len(_values(minute, 0)) == 60 or len(_values(hour, 1)) == 24


@functools.cache
def _on_day(expression: str, day: date) -> bool:
    _, _, days, months, weekdays = expression.split()
    if day.month not in _values(months, 3):
        return False
    last = calendar.monthrange(day.year, day.month)[1]
    by_day = day.day in _values(days, 2) or (day.day == last and "L" in days.split(","))
    by_weekday = any(_on_weekday(part, day, last) for part in weekdays.split(","))
    if days.startswith("*") or weekdays.startswith("*"):
        return by_day and by_weekday
    return by_day or by_weekday


def _on_weekday(part: str, day: date, last: int) -> bool:
    weekday = day.isoweekday() % 7
    if part.endswith("L"):
        return weekday in _values(part[:-1], 4) and day.day > last - 7
    if "#" in part:
        value, _, count = part.partition("#")
        return weekday in _values(value, 4) and (day.day + 6) // 7 == int(count)
    return weekday in _values(part, 4)


@functools.cache
def _values(token: str, field: int) -> frozenset[int]:
    low, high = _BOUNDS[field]
    found: set[int] = set()
    for part in token.split(","):
        if part == "L":
            continue
        span, _, step = part.partition("/")
        begin, dash, end = span.partition("-")
        first = low if span == "*" else _value(begin, field)
        final = _value(end, field) if dash else high if span == "*" or step else first
        if field == 4 and final == 0 < first:
            final = 7
        if final < first:
            found |= {*range(first, high + 1), *range(low, final + 1)}
        found |= set(range(first, final + 1, int(step or 1)))
    return frozenset(value % 7 for value in found) if field == 4 else frozenset(found)


def _value(text: str, field: int) -> int:
    return int(text) if text.isdigit() else _WORDS[field][text]
