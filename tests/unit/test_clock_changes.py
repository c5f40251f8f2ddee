"""The rule for changes of clocks, against an oracle that looks at every minute, in all zones there are."""

from __future__ import annotations

import functools
import random
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from pgtask.model.recurrence import Recurrence
from tests.oracle import Moment, due, walk

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
UNTIL = datetime(2031, 1, 1, tzinfo=UTC)
AROUND = timedelta(hours=3)
EXPRESSIONS = (
    "30 1 * * *",
    "30 2 * * *",
    "0 0,3 * * *",
    "15,45 0-4 * * *",
    "7-13 1,2 * * *",
    "30 23,0 * * *",
    "0 3 1-7 * sun",
    "45 1 L * *",
    "0 * * * *",
    "*/15 * * * *",
    "*/20 0-3 * * *",
    "5 */2 * * *",
    "10 0-23 * * sat,sun",
)


class Change(NamedTuple):
    """An instant from which on clocks are ahead of UTC by another offset."""

    instant: datetime
    before: timedelta
    offset: timedelta


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _changes(zone: ZoneInfo) -> list[Change]:
    """All changes of the years looked at, found in ever smaller steps."""
    found = [[SINCE, UNTIL]]
    for step in (timedelta(days=3), timedelta(hours=1), timedelta(minutes=1)):
        smaller: list[list[datetime]] = []
        for since, until in found:
            instants = [since + number * step for number in range((until - since) // step + 1)]
            offsets = [_offset(zone, instant) for instant in instants]
            smaller += [instants[at : at + 2] for at, (one, other) in enumerate(pairwise(offsets)) if one != other]
        found = smaller
    return [Change(until, _offset(zone, since), _offset(zone, until)) for since, until in found]


@pytest.fixture(scope="module")
def zones() -> dict[str, list[Change]]:
    """All zones with their changes."""
    names = zoneinfo.available_timezones() - {"localtime"}
    return {name: _changes(ZoneInfo(name)) for name in sorted(names)}


def test_ticks_around_every_change_of_clocks(zones: dict[str, list[Change]]) -> None:
    # Zones that change in the same way at the same instant are one.
    changes = {change: name for name, found in zones.items() for change in found}
    assert len(changes) > 300
    assert {change.offset - change.before for change in changes} >= {timedelta(hours=-1), timedelta(minutes=30)}

    parse = functools.cache(Recurrence.parse)
    for change, name in changes.items():
        minutes = walk(ZoneInfo(name), change.instant - AROUND, change.instant + AROUND)
        middle = change.instant + (change.before + change.offset) / 2
        for expression in (*EXPRESSIONS, f"{middle:%M %H %d} * *"):
            _assert_as_found(parse(expression, name), minutes, due(expression, minutes))


def test_ticks_at_other_times(zones: dict[str, list[Change]]) -> None:
    pick = random.Random(20240101)
    for name, changes in zones.items():
        since = SINCE + timedelta(minutes=pick.randrange((UNTIL - SINCE) // timedelta(minutes=1)))
        if any(abs(since - change.instant) < timedelta(days=1) for change in changes):
            continue
        minutes = walk(ZoneInfo(name), since, since + AROUND)
        expression = pick.choice(("*/10 * * * *", f"{minutes[90].shown:%M %H} * * *"))
        _assert_as_found(Recurrence.parse(expression, name), minutes, due(expression, minutes))


@pytest.mark.parametrize("expression", ["0,20,40 1,2 * * *", "*/20 * * * *"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Europe/Berlin", "2026-03-29T01:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
        ("Antarctica/Troll", "2026-10-25T01:00Z"),
        ("Africa/Cairo", "2026-10-29T21:00Z"),
    ],
)
def test_the_next_tick_is_the_same_from_wherever_one_asks(name: str, change: str, expression: str) -> None:
    instant = datetime.fromisoformat(change)
    minutes = walk(ZoneInfo(name), instant - AROUND, instant + timedelta(days=2))
    expected = due(expression, minutes)
    recurrence = Recurrence.parse(expression, name)

    asked = [moment.instant + timedelta(seconds=30) for moment in minutes[::7]]
    asked += [tick + timedelta(microseconds=step) for tick in expected for step in (-1, 0, 1)]
    for instant in asked:
        later = [tick for tick in expected if tick > instant]
        if later:
            assert recurrence.next(instant, anchor=SINCE) == later[0]


def _assert_as_found(recurrence: Recurrence, minutes: list[Moment], expected: list[datetime]) -> None:
    since, until = minutes[0].instant, minutes[-1].instant
    ticks = takewhile(lambda tick: tick <= until, recurrence.ticks(since - timedelta(seconds=1), since))
    assert list(ticks) == expected, f"{recurrence}, from {since} to {until}"
