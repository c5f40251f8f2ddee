"""What the clocks of a time zone show, and the instants at which they are put forward or back."""

from __future__ import annotations

import difflib
import functools
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pgtask.model.errors import ScheduleError

_SECOND = timedelta(seconds=1)
_LOOK = timedelta(days=1)
"""How far apart two looks at a clock are; no zone changes its clocks twice in a day."""


@functools.cache
def find_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ScheduleError when there is none."""
    known = zoneinfo.available_timezones()
    if name in known:
        return ZoneInfo(name)
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), by_lower, 1)
    hint = f"did you mean '{by_lower[close[0]]}'?" if close else "write an IANA name such as 'Europe/Berlin' or 'UTC'."
    raise ScheduleError(f"There is no time zone {name!r}: {hint}")


def on_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show at an instant, without a zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the zone's clocks show this; if they skip it, the instant at which they do."""
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if on_clock(instant, zone) == local:
        return instant
    # A time that is skipped counts with the offset before the change, or with fold with the one after: the change lies between.
    earlier = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return next_change(earlier, instant, zone) or instant


def next_change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant after `after`, and not after `until`, from which on the zone's offset is another; both whole seconds."""
    offset = offset_at(after, zone)
    looked = after
    while looked < until:
        at = min(looked + _LOOK, until)
        if offset_at(at, zone) == offset:
            looked = at
            continue
        while at - looked > _SECOND:
            middle = looked + timedelta(seconds=(at - looked) // _SECOND // 2)
            if offset_at(middle, zone) == offset:
                looked = middle
            else:
                at = middle
        return at
    return None


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's clocks are ahead of UTC at an instant."""
    return instant.astimezone(zone).utcoffset() or timedelta()


def transition(tick: datetime, timezone: str) -> str | None:
    """How a tick stands to a change of clocks: it is the first or second of two that look alike, or the moment when clocks
    are put forward; None when no clock is touched."""
    zone = find_zone(timezone)
    at = tick.astimezone(zone)
    if at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset():
        return "second of two" if at.fold else "first of two"
    jump = offset_at(tick, zone) - offset_at(tick - _SECOND, zone)
    if jump > timedelta():
        shown = at.replace(tzinfo=None)
        return f"clocks go from {shown - jump:%H:%M} to {shown:%H:%M}"
    return None
