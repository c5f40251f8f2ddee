"""Ticks to come, as people and programs are shown them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pgtask.model.recurrence import Recurrence, transition
from pgtask.model.schedule import ScheduleRecord
from pgtask.model.serialise import instant_as_text


class Upcoming(NamedTuple):
    """A tick to come: when, what local clocks show, and how it stands to a change of theirs."""

    at: datetime
    local: datetime
    change: str | None


def upcoming(
    recurrence: Recurrence, count: int, anchor: datetime, after: datetime, until: datetime | None
) -> list[Upcoming]:
    """The next ticks after an instant."""
    zone = ZoneInfo(recurrence.timezone)
    ticks = islice(recurrence.ticks(after, anchor), count)
    return [
        Upcoming(tick, tick.astimezone(zone), transition(tick, recurrence.timezone))
        for tick in ticks
        if until is None or tick <= until
    ]


def upcoming_from_now(recurrence: Recurrence, count: int) -> list[Upcoming]:
    """The next ticks of what begins now."""
    now = datetime.now(UTC).replace(microsecond=0)
    return upcoming(recurrence, count, now, now, None)


def upcoming_of(schedule: ScheduleRecord, count: int) -> list[Upcoming]:
    """The next ticks of a schedule, as if it were active. Raises ScheduleError when it has no ticks."""
    recurrence = Recurrence.parse(schedule.expression, schedule.timezone, schedule.seconds)
    # A tick at the very start fires.
    begin = schedule.anchored_at if schedule.starts_at is None else schedule.starts_at - timedelta(microseconds=1)
    after = max(datetime.now(UTC), begin)
    return upcoming(recurrence, count, schedule.anchored_at, after, schedule.ends_at)


def upcoming_as_json(ticks: Sequence[Upcoming]) -> list[dict[str, Any]]:
    """Ticks to come for JSON."""
    return [
        {"tick_at": instant_as_text(tick.at), "local": tick.local.isoformat(), "clock_change": tick.change}
        for tick in ticks
    ]
