"""Cron expressions: which are understood, and which times of a clock they name. The only module that knows croniter.

croniter decides which times match. What it understands beyond the common ground is refused here, as it is easily
misread (5-5 is every value to it, R a random one), and so is what it gets wrong (ranges over the end with a step).
"""

from __future__ import annotations

import copy
import difflib
from datetime import datetime
from typing import Any, Literal, get_args

from pgtask.model.cron_fields import DAY, FIELDS, LAST_WEEKDAY, SECOND, WEEKDAY, Field, check, number
from pgtask.model.errors import ScheduleError
from pgtask.model.wording import plural

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
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - what clocks show has no zone


class Cron:
    """A cron expression: the times of a clock that it names, in whatever time zone."""

    def __init__(self, text: str, seconds: Seconds | None = None) -> None:
        """Reads five fields, six when `seconds` says where those stand, or an alias.

        Raises ScheduleError when it is not understood, or no such time ever comes.
        """
        from croniter import croniter

        written = _written(text)
        self.tokens: dict[str, str] = {}
        for field, token in zip(_layout(written, seconds), written.lower().split(" "), strict=True):
            fault = check(field, token)
            if fault is not None:
                raise ScheduleError(f"{fault[0].upper()}{fault[1:]} (in {text!r}).")
            self.tokens[field.name] = token
        _check_days(text, self.tokens[DAY.name], self.tokens[WEEKDAY.name])
        # croniter writes the last Friday l5, and seconds last.
        weekday = LAST_WEEKDAY.sub(lambda found: f"l{number(found[1], WEEKDAY)}", self.tokens[WEEKDAY.name])
        ordered = [self.tokens[field.name] for field in (*FIELDS, SECOND) if field.name in self.tokens]
        ordered[FIELDS.index(WEEKDAY)] = weekday
        # The "bug" is what Vixie's cron and pg_cron do: of a day and a weekday either may match, but both must when one
        # begins with *.
        self._croniter = croniter(" ".join(ordered), _START, ret_type=datetime, implement_cron_bug=True)
        if self.after(_START) is None:
            raise ScheduleError(f"{text!r} is never due: the months it names have no such day.")
        named = self.values()
        self.is_fixed = all(
            not {"*", "/"} & set(self.tokens[field]) and named[field] is not None for field in ("minute", "hour")
        )
        """Whether hours and minutes are fixed: without * and steps, and not every value there is."""

    @property
    def names_last_day(self) -> bool:
        """Whether the last day of the month is named as such, by L."""
        return "l" in self.tokens[DAY.name].split(",")

    def values(self) -> dict[str, list[int] | None]:
        """The values that each field names, in order and but for L; None for all there are."""
        expanded: list[list[Any]] = self._croniter.expanded
        names = [field.name for field in (*FIELDS, SECOND)]
        return {
            name: None if "*" in values else [value for value in values if value != "l"]
            for name, values in zip(names, expanded, strict=False)
        }

    def after(self, shown: datetime) -> datetime | None:
        """The first time named that is later than one shown, both without a zone; None when the calendar ends."""
        from croniter import CroniterBadDateError

        # A copy, as croniter keeps its place and threads may share a schedule.
        found: datetime
        try:
            found = copy.copy(self._croniter).get_next(start_time=shown)
        except CroniterBadDateError:
            return None
        return found


def _written(text: str) -> str:
    """The fields that an alias stands for."""
    lowered = text.lower()
    if not lowered.startswith("@"):
        return text
    if lowered in ALIASES:
        return ALIASES[lowered]
    if lowered == "@reboot":
        raise ScheduleError(
            f"{text!r} is not understood: workers come and go. Enqueue the job where your program starts."
        )
    close = difflib.get_close_matches(lowered, ALIASES, 1)
    hint = f"did you mean {close[0]}?" if close else f"write {', '.join(ALIASES)}, or '@every 30s'."
    raise ScheduleError(f"{text!r} is unknown: {hint}")


def _layout(text: str, seconds: Seconds | None) -> tuple[Field, ...]:
    """The fields of an expression in the order in which they are written."""
    if seconds not in {None, *get_args(Seconds)}:
        raise ScheduleError(f"seconds is {seconds!r}: it says where they stand, 'first' or 'last'.")
    count = len(text.split(" "))
    layouts = {(5, None): FIELDS, (6, "first"): (SECOND, *FIELDS), (6, "last"): (*FIELDS, SECOND)}
    if (count, seconds) in layouts:
        return layouts[count, seconds]
    faults = {
        5: f"has five fields, none for seconds: write six, or leave out seconds={seconds!r}.",
        6: "has six fields: say where the seconds stand, seconds='first' or seconds='last'.",
        7: "has seven fields: years are not understood, give the schedule a start and an end instead.",
    }
    advice = "write five, for minute, hour, day of month, month and day of week, such as '0 8 * * mon-fri'."
    raise ScheduleError(f"{text!r} " + faults.get(count, f"has {plural(count, 'field')}: {advice}"))


def _check_days(text: str, day: str, weekday: str) -> None:
    """Counted weekdays, such as mon#2 and fril, stand alone: croniter takes them together with days of the month."""
    parts = weekday.split(",")
    counted = [part for part in parts if "#" in part or LAST_WEEKDAY.fullmatch(part)]
    if counted and len(counted) < len(parts):
        raise ScheduleError(f"{text!r} mixes {counted[0]!r} with plain weekdays: make two schedules of it.")
    if counted and day != "*":
        raise ScheduleError(
            f"{text!r} has {counted[0]!r} and a day of month: write * for one, or make two schedules of it."
        )
