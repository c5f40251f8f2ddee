"""Recurrences in words. What has no short words is given as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

from pgtask.model.cron import Cron
from pgtask.model.cron_fields import DAY, LAST_WEEKDAY, WEEKDAY, number
from pgtask.model.wording import duration

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST = 4
"""How many times or names are listed."""


def every_words(seconds: float) -> str:
    """The length of an interval: "every 30 s", "every 1 h 30 m"."""
    return f"every {seconds:g} s" if seconds < 60 else f"every {duration(seconds, parts=5)}"


def cron_words(cron: Cron) -> str:
    """What an expression names: "at 08:00, Monday to Friday"."""
    return ", ".join(filter(None, (_times(cron) or _pace(cron), _days(cron), _months(cron))))


def _times(cron: Cron) -> str | None:
    """A few times of the day: "at 08:00 and 20:00"."""
    values = cron.values()
    hours, minutes, seconds = values["hour"], values["minute"], values.get("second", [0])
    if hours is None or minutes is None or seconds is None:
        return None
    if len(hours) * len(minutes) * len(seconds) > _MOST:
        return None
    units = (hours, minutes) if seconds == [0] else (hours, minutes, seconds)
    return "at " + _joined(":".join(f"{value:02}" for value in time) for time in product(*units))


def _pace(cron: Cron) -> str:
    """How often, and in which hours: "every 15 minutes, 09:00 to 17:59"."""
    values = cron.values()
    second = "" if values.get("second", [0]) == [0] else _unit(cron, "second")
    if values["minute"] == [0] and not second:
        step = _step(cron, "hour", 24)
        return f"every {step} hours" if step else ", ".join(filter(None, ("every hour", _hours(cron))))
    # "every 10 seconds" needs no "every minute".
    minute = "" if values["minute"] is None and second.startswith("every") else _unit(cron, "minute")
    hour = _hours(cron) or ("every hour" if minute.startswith("at") else "")
    return ", ".join(filter(None, (second, minute, hour)))


def _unit(cron: Cron, unit: str) -> str:
    """One of the small units: "every minute", "every 5 minutes", "at minute 5"."""
    values = cron.values()[unit]
    if values is None:
        return f"every {unit}"
    step = _step(cron, unit, 60)
    return f"every {step} {unit}s" if step else f"at {unit} {_listed(values, str) or cron.tokens[unit]}"


def _step(cron: Cron, unit: str, of: int) -> int | None:
    """The n of */n where all intervals are alike."""
    start, _, step = cron.tokens[unit].partition("/")
    return int(step) if start == "*" and step.isdigit() and of % int(step) == 0 else None


def _hours(cron: Cron) -> str:
    hours = cron.values()["hour"]
    if hours is None:
        return ""
    if len(hours) == hours[-1] - hours[0] + 1:
        return f"{hours[0]:02}:00 to {hours[-1]:02}:59"
    return f"in hour {_listed(hours, str) or cron.tokens['hour']}"


def _days(cron: Cron) -> str:
    """The days of the month, of the week, or both: "day 1 of the month", "day 13 of the month or Friday"."""
    day, weekday = _day(cron), _weekday(cron)
    both = " and " if any(cron.tokens[of.name].startswith("*") for of in (DAY, WEEKDAY)) else " or "
    return both.join(filter(None, (day, weekday)))


def _day(cron: Cron) -> str:
    days = cron.values()[DAY.name]
    if days is None:
        return ""
    if cron.names_last_day:
        numbers = f"day {_listed(days, str) or cron.tokens[DAY.name]} and " if days else ""
        return f"{numbers}the last day of the month"
    return f"day {_listed(days, str) or cron.tokens[DAY.name]} of the month"


def _weekday(cron: Cron) -> str:
    weekdays, token = cron.values()[WEEKDAY.name], cron.tokens[WEEKDAY.name]
    if weekdays is None:
        return ""
    parts = token.split(",")
    if "#" in token or LAST_WEEKDAY.fullmatch(parts[0]):
        return f"{_joined(map(_counted, parts))} of the month"
    # The weeks of people who read this begin on Monday.
    ordered = sorted((value - 1) % 7 for value in weekdays)
    return _listed(ordered, _WEEKDAYS.__getitem__) or f"weekday {token}"


def _counted(part: str) -> str:
    """A counted weekday: "the second Monday"."""
    name, _, count = part.partition("#")
    ordinal = _ORDINALS[int(count) - 1] if count else "last"
    return f"the {ordinal} {_WEEKDAYS[number(name if count else name.removesuffix('l'), WEEKDAY) - 1]}"


def _months(cron: Cron) -> str:
    months = cron.values()["month"]
    if months is None:
        return ""
    return "in " + (_listed(months, lambda month: _MONTHS[month - 1]) or f"month {cron.tokens['month']}")


def _listed(values: list[int], name: Callable[[int], str]) -> str | None:
    """Names of ascending values, three and more in a row as "Monday to Friday"; None when there are too many."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    names = [
        part
        for run in runs
        for part in ([f"{name(run[0])} to {name(run[-1])}"] if len(run) > 2 else [name(value) for value in run])
    ]
    return _joined(names) if len(names) <= _MOST else None


def _joined(parts: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
