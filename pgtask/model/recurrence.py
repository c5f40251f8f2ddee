"""When a schedule is due.

Clocks that are put forward skip times, and clocks that are put back show times twice. Fixed hours and minutes are due once
per time that clocks show or skip: at the first of two, and at the moment of the change when they are skipped. Everything
with a * or a step in hours or minutes, and `@every`, follows elapsed time: what is skipped is not made up for, what comes
twice is due twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pgtask.model.cron import Cron, Seconds
from pgtask.model.duration import parse_duration
from pgtask.model.errors import ScheduleError
from pgtask.model.recurrence_words import cron_words, every_words
from pgtask.model.wall_clock import find_zone, first_instant, next_change, offset_at, on_clock, transition

__all__ = ["Recurrence", "transition"]

LONGEST = 200
"""Characters of an expression."""
_EVERY = re.compile(r"@every\s+((?:[0-9]+(?:\.[0-9]+)?\s*(?:ms|s|min|m|h|d|w)\s*)+)", re.ASCII | re.IGNORECASE)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When a schedule is due: a cron expression in a time zone, or every so many seconds."""

    expression: str
    timezone: str
    seconds: Seconds | None
    every: float | None
    wall_clock: bool
    _zone: ZoneInfo
    _cron: Cron | None

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC", seconds: Seconds | None = None) -> Recurrence:
        """A recurrence from an expression: five fields, six when `seconds` says whether those stand first or last, an alias
        such as `@daily`, or `@every 30s`.

        Raises ScheduleError when it is not understood, never due, or the time zone is unknown.
        """
        text = expression.strip()
        if not text:
            raise ScheduleError("The expression is empty: write one such as '0 8 * * mon-fri' or '@every 30s'.")
        if len(text) > LONGEST:
            raise ScheduleError(f"The expression is longer than {LONGEST} characters: make it several schedules.")
        if not text.isascii() or not text.isprintable():
            raise ScheduleError(
                f"{text!r} has characters that no expression has: write plain letters, digits and spaces."
            )
        zone = find_zone(timezone)
        if text.lower().startswith("@reboot"):
            raise ScheduleError(
                "'@reboot' is not understood: workers come and go. Enqueue the job where your program starts."
            )
        if text.lower().startswith("@every"):
            return cls(text, timezone, seconds, _every(text, seconds), False, zone, None)
        cron = Cron(text, seconds)
        return cls(text, timezone, seconds, None, cron.wall_clock, zone, cron)

    def next(self, after: datetime, anchor: datetime) -> datetime | None:
        """The first tick strictly after an instant, in UTC; None when there is none any more. `@every` counts from `anchor`."""
        if self.every is not None:
            step = timedelta(seconds=self.every)
            return (anchor + ((after - anchor) // step + 1) * step).astimezone(UTC)
        assert self._cron is not None
        from_second = after.astimezone(UTC).replace(microsecond=0)
        return self._next_shown(from_second) if self.wall_clock else self._next_elapsed(from_second)

    def ticks(self, after: datetime, anchor: datetime) -> Iterator[datetime]:
        """All ticks after an instant, each later than the one before it."""
        tick = self.next(after, anchor)
        while tick is not None:
            yield tick
            tick = self.next(tick, anchor)

    def words(self) -> str:
        """What it means: "at 08:00, Monday to Friday, Europe/Berlin", "every 30 s"."""
        if self._cron is None:
            return every_words(self.every or 0)
        return f"{cron_words(self._cron)}, {self.timezone}"

    def _next_shown(self, after: datetime) -> datetime | None:
        assert self._cron is not None
        local = self._cron.after(on_clock(after, self._zone))
        while local is not None:
            tick = first_instant(local, self._zone)
            if tick > after:
                return tick
            local = self._cron.after(local)
        return None

    def _next_elapsed(self, after: datetime) -> datetime | None:
        assert self._cron is not None
        start, offset = after, offset_at(after, self._zone)
        while local := self._cron.after((start + offset).replace(tzinfo=None)):
            tick = local.replace(tzinfo=UTC) - offset
            change = next_change(max(start, after), tick, self._zone)
            if change is None:
                return tick
            # Nothing is due before the change. Go on at that moment, which may be due itself, by the clock it sets.
            start, offset, after = change - _SECOND, offset_at(change, self._zone), change
        return None


def _every(text: str, seconds: Seconds | None) -> float:
    """The seconds in `@every 30s`."""
    if seconds is not None:
        raise ScheduleError(f"{text!r} has no field for seconds: leave out seconds={seconds!r}.")
    match = _EVERY.fullmatch(text)
    if match is None:
        raise ScheduleError(f"{text!r} is not understood: write '@every' and a length of time, such as '@every 1h30m'.")
    try:
        every = round(parse_duration(match[1].lower()), 6)
    except ValueError as error:
        raise ScheduleError(f"{text!r} is too long: write at most 1000000000s.") from error
    if every < 1:
        raise ScheduleError(f"{text!r} is too often: write at least '@every 1s'.")
    return every
