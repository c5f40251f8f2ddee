"""When a schedule is due.

Where clocks are put forward they skip times, and where they are put back they show times twice. Fixed hours and minutes
are due once for each time that is shown or skipped: at the first of two, and at the moment of the change when it is
skipped. Whatever has a * or a step in its hours or minutes, or names all of them, follows elapsed time: what is skipped
is not made up for, and what is shown twice is due twice. So does `@every`, which looks at no clock at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pgtask.model.cron import Cron, Seconds
from pgtask.model.duration import parse_duration
from pgtask.model.errors import ScheduleError
from pgtask.model.recurrence_words import cron_words, every_words
from pgtask.model.wall_clock import (
    SECOND,
    find_zone,
    first_instant,
    furthest_shown,
    next_change,
    offset_at,
    skipped_before,
    transition,
)

__all__ = ["Recurrence", "transition"]

LONGEST = 200
"""Characters of an expression."""
_EVERY = re.compile(r"@every ((?:[0-9]+(?:\.[0-9]+)? ?(?:ms|s|min|m|h|d|w) ?)+)")


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When a schedule is due: a cron expression in a time zone, or every so many seconds."""

    expression: str
    timezone: str
    seconds: Seconds | None
    every: float | None
    """Seconds between ticks, for `@every`."""
    _zone: ZoneInfo = field(repr=False, compare=False)
    _cron: Cron | None = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC", seconds: Seconds | None = None) -> Recurrence:
        """A recurrence from an expression: five cron fields, six when `seconds` says whether those stand first or
        last, an alias such as `@daily`, or `@every 30s`.

        Raises ScheduleError, saying what to write instead, when it is not understood or never due, and for an unknown
        time zone.
        """
        text = re.sub(r"[ \t]+", " ", expression).strip(" \r\n")
        if not text:
            raise ScheduleError("The expression is empty: write one such as '0 8 * * mon-fri' or '@every 30s'.")
        if len(text) > LONGEST:
            raise ScheduleError(f"The expression is longer than {LONGEST} characters: make several schedules of it.")
        if not (text.isascii() and text.isprintable()):
            raise ScheduleError(
                f"{text!r} has characters that are not understood: write plain letters, digits and spaces."
            )
        zone = find_zone(timezone)
        lowered = text.lower()
        if lowered.startswith("@every"):
            return cls(text, timezone, seconds, _every(text, seconds), zone, None)
        return cls(text, timezone, seconds, None, zone, Cron(text, seconds))

    @property
    def wall_clock(self) -> bool:
        """Whether hours and minutes are fixed, so that clocks decide and not elapsed time."""
        return self._cron is not None and self._cron.is_fixed

    def next(self, after: datetime, anchor: datetime) -> datetime | None:
        """The first tick later than an instant, in UTC; None when the calendar ends. `@every` counts from `anchor`."""
        try:
            if self._cron is None:
                step = timedelta(seconds=self.every or 0)
                return (anchor + ((after - anchor) // step + 1) * step).astimezone(UTC)
            second = after.astimezone(UTC).replace(microsecond=0)
            find = self._next_shown if self._cron.is_fixed else self._next_elapsed
            return find(self._cron, second)
        except OverflowError:
            return None

    def ticks(self, after: datetime, anchor: datetime) -> Iterator[datetime]:
        """All ticks later than an instant, each later than the one before it."""
        tick = self.next(after, anchor)
        while tick is not None:
            yield tick
            tick = self.next(tick, anchor)

    def transition(self, tick: datetime) -> str | None:
        """What a change of clocks does to a tick: "moved: 02:30 does not exist", else what the function of this name
        says."""
        skipped = skipped_before(tick, self._zone)
        if skipped and self._cron is not None and self._cron.is_fixed:
            named = self._cron.after(skipped[0] - SECOND)
            if named is not None and named < skipped[1]:
                return f"moved: {named:%H:%M} does not exist"
        return transition(tick, self.timezone)

    def words(self) -> str:
        """What it means: "at 08:00, Monday to Friday, Europe/Berlin", "every 30 s"."""
        if self._cron is None:
            return every_words(self.every or 0)
        return f"{cron_words(self._cron)}, {self.timezone}"

    def _next_shown(self, cron: Cron, after: datetime) -> datetime | None:
        shown = cron.after(furthest_shown(after, self._zone))
        return None if shown is None else first_instant(shown, self._zone)

    def _next_elapsed(self, cron: Cron, after: datetime) -> datetime | None:
        start, offset = after, offset_at(after, self._zone)
        while shown := cron.after((start + offset).replace(tzinfo=None)):
            tick = shown.replace(tzinfo=UTC) - offset
            change = next_change(after, tick, self._zone)
            if change is None:
                return tick
            # Nothing is due before the change. Go on from there, by the clock it sets; the moment itself may be due.
            after, start, offset = change, change - SECOND, offset_at(change, self._zone)
        return None


def _every(text: str, seconds: Seconds | None) -> float:
    """The seconds in `@every 30s`."""
    if seconds is not None:
        raise ScheduleError(f"{text!r} has no field for seconds: leave out seconds={seconds!r}.")
    match = _EVERY.fullmatch(text.lower())
    if match is None:
        raise ScheduleError(f"{text!r} is not understood: write '@every' and a length of time, such as '@every 1h30m'.")
    try:
        every = round(parse_duration(match[1]), 6)
    except ValueError as error:
        raise ScheduleError(f"{text!r} is too seldom: write at most '@every 1000000000s'.") from error
    if every < 1:
        raise ScheduleError(f"{text!r} is too often: write at least '@every 1s'.")
    return every
