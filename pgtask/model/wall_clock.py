"""What the clocks of a time zone show, and the instants at which they are put forward or back.

Instants are aware and whole seconds; what clocks show is a datetime without a zone.
"""

from __future__ import annotations

import difflib
import functools
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pgtask.model.errors import ScheduleError

SECOND = timedelta(seconds=1)
_LOOK = timedelta(days=1)
"""How far apart two looks at an offset are: no zone changes its clocks twice in a day."""


@functools.cache
def find_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ScheduleError when there is none."""
    known = _zone_names()
    if name in known:
        return ZoneInfo(name)
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), by_lower, 1)
    hint = f"did you mean '{by_lower[close[0]]}'?" if close else "write an IANA name such as 'Europe/Berlin' or 'UTC'."
    raise ScheduleError(f"There is no time zone {name!r}: {hint}")


@functools.cache
def _zone_names() -> frozenset[str]:
    """All there are, but for the one that is another on each host. To find them is slow."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's clocks are ahead of UTC at an instant."""
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def first_instant(shown: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks show this; the instant of the change when they skip it."""
    instant = shown.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == shown:
        return instant
    # A skipped time is read with the offset before the change, or with that after it when fold is set. The latter is an
    # instant before the change, the former one after it.
    change = next_change(shown.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)
    assert change is not None
    return change


def furthest_shown(instant: datetime, zone: ZoneInfo) -> datetime:
    """The latest time that clocks have shown up to an instant: more than they show then if they were just put back."""
    local = instant.astimezone(zone)
    shown = local.replace(tzinfo=None, fold=0)
    if not local.fold:
        return shown
    first = first_instant(shown, zone)
    change = next_change(first, instant, zone)
    assert change is not None
    return shown + (change - SECOND - first)


def next_change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant later than `after` and not later than `until` at which the zone's offset is another."""
    offset, looked = offset_at(after, zone), after
    while looked < until:
        changed = min(looked + _LOOK, until)
        if offset_at(changed, zone) == offset:
            looked = changed
            continue
        while changed - looked > SECOND:
            middle = looked + (changed - looked) // SECOND // 2 * SECOND
            if offset_at(middle, zone) == offset:
                looked = middle
            else:
                changed = middle
        return changed
    return None


def transition(tick: datetime, timezone: str) -> str | None:
    """What clocks do around a tick: "first of two" or "second of two" when they show its time twice, "clocks go from
    02:00 to 03:00" when they are put forward at that moment, else None.

    Raises ScheduleError for an unknown time zone.
    """
    zone = find_zone(timezone)
    local = tick.astimezone(zone)
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        return "second of two" if local.fold else "first of two"
    skipped = skipped_before(tick, zone)
    return f"clocks go from {skipped[0]:%H:%M} to {skipped[1]:%H:%M}" if skipped else None


def skipped_before(instant: datetime, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
    """The times between which clocks show nothing, the second excluded, when they are put forward at this instant."""
    shown = instant.astimezone(zone).replace(tzinfo=None)
    jump = offset_at(instant, zone) - offset_at(instant - SECOND, zone)
    return (shown - jump, shown) if jump > timedelta() else None
