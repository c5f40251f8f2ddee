"""Hours, days and weeks as clocks and calendars of a time zone have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

PeriodKind = Literal["hourly", "daily", "weekly"]
KINDS: tuple[PeriodKind, ...] = ("hourly", "daily", "weekly")


@dataclass(frozen=True, slots=True)
class Period:
    """From `began_at` to just before `ended_at`."""

    began_at: datetime
    ended_at: datetime

    @property
    def seconds(self) -> float:
        """Its length; days on which clocks change are longer or shorter than others."""
        return (self.ended_at.astimezone(UTC) - self.began_at.astimezone(UTC)).total_seconds()


def full_minutes(began_at: datetime, ended_at: datetime) -> Period:
    """The full minutes that a span of time touches, at least one, in UTC."""
    began = began_at.astimezone(UTC).replace(second=0, microsecond=0)
    last = (ended_at.astimezone(UTC) - timedelta(microseconds=1)).replace(second=0, microsecond=0)
    return Period(began, max(last, began) + timedelta(minutes=1))


def last_period(kind: PeriodKind, at: datetime, zone: ZoneInfo) -> Period:
    """The last full hour, day or week (from Monday) that had ended at this instant, in the zone's time."""
    local = at.astimezone(zone)
    if kind == "hourly":
        # In absolute time: when clocks are put back, an hour has the same name as the one before it.
        ended = local.replace(minute=0, second=0, microsecond=0)
        return Period((ended.astimezone(UTC) - timedelta(hours=1)).astimezone(zone), ended)
    today = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    # Arithmetic of one zone goes by its calendar, whatever its clocks do meanwhile.
    if kind == "daily":
        return Period(today - timedelta(days=1), today)
    monday = today - timedelta(days=today.weekday())
    return Period(monday - timedelta(days=7), monday)
