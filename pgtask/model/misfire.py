"""What a schedule owes when somebody looks: which ticks have come due, which of them came too late, and what then.

Ticks are counted from the last one seen to, never from now, so that none is lost however long nobody looked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile

from pgtask.model.recurrence import Recurrence
from pgtask.model.wording import duration

GRACE = timedelta(seconds=60)
"""A tick that is older was missed."""

RECORDED = 100
"""Missed ticks that are recorded, at most; the oldest of them says that there were more."""

_JUST_BEFORE = timedelta(microseconds=1)
_FIRST_SPAN = timedelta(minutes=4)


class Catchup(StrEnum):
    """What becomes of missed ticks: none fires, the latest does, or all up to a limit and an age."""

    NONE = "none"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """When a schedule is due, and what it makes of missed ticks. `due_after` is the last tick seen to, or when it was
    made, edited or resumed; `max_age` is in seconds."""

    recurrence: Recurrence
    anchor: datetime
    due_after: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    catchup: Catchup = Catchup.ONE
    limit: int = 100
    max_age: float = 604800.0


@dataclass(frozen=True, slots=True)
class DueTick:
    """A tick that has come due; `missed` is why it does not fire, None when it does."""

    at: datetime
    backfill: bool = False
    missed: str | None = None


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The due ticks in their order, until when all is seen to, and the next tick, None when there is none any more."""

    due: list[DueTick]
    due_after: datetime
    next_tick_at: datetime | None


def reckon(terms: Terms, instant: datetime) -> Reckoning:
    """What is due at an instant of the database's clock."""
    after = terms.due_after
    if terms.starts_at is not None:
        after = max(after, terms.starts_at - _JUST_BEFORE)
    until = instant if terms.ends_at is None else min(instant, terms.ends_at)
    wanted = RECORDED + int(GRACE.total_seconds())
    if terms.catchup == Catchup.ALL:
        wanted += terms.limit
    found, more = _latest(terms, after, until, wanted)
    late_before = instant - GRACE
    late = [tick for tick in found if tick < late_before]
    due = [*_late(terms, late, instant, more=more), *(DueTick(tick) for tick in found if tick >= late_before)]
    if found:
        after = found[-1]
    upcoming = terms.recurrence.next(after, terms.anchor)
    if upcoming is not None and terms.ends_at is not None and upcoming > terms.ends_at:
        upcoming = None
    return Reckoning(due, max(after, terms.due_after) if found else terms.due_after, upcoming)


def _latest(terms: Terms, after: datetime, until: datetime, wanted: int) -> tuple[list[datetime], bool]:
    """The latest ticks of a stretch of time, and whether it had more: looked for in growing parts of it, as years of
    seconds may have passed."""
    span = _FIRST_SPAN
    while True:
        begin = max(after, until - span) if until - after > span else after
        ticks: Iterable[datetime] = terms.recurrence.ticks(begin, terms.anchor)
        found = deque(takewhile(lambda tick: tick <= until, ticks), maxlen=wanted + 1)
        if len(found) > wanted:
            return list(found)[1:], True
        if begin == after:
            return list(found), False
        span *= 4


def _late(terms: Terms, late: list[datetime], instant: datetime, *, more: bool) -> list[DueTick]:
    fires = 0
    if terms.catchup == Catchup.ONE:
        fires = 1
    elif terms.catchup == Catchup.ALL:
        oldest = instant - timedelta(seconds=terms.max_age)
        fires = min(terms.limit, sum(tick >= oldest for tick in late))
    cut = max(0, len(late) - fires)
    missed = late[max(0, cut - RECORDED) : cut]
    ticks = [DueTick(tick, missed=_reason(terms, tick, instant)) for tick in missed]
    if ticks and (more or len(missed) < cut):
        ticks[0] = DueTick(ticks[0].at, missed=f"{ticks[0].missed}; so were earlier ones that are not listed")
    return ticks + [DueTick(tick, backfill=True) for tick in late[cut:]]


def _reason(terms: Terms, tick: datetime, instant: datetime) -> str:
    late = f"no scheduler ran until {duration((instant - tick).total_seconds())} later"
    if terms.catchup == Catchup.ALL:
        return f"{late}; catchup all goes back {duration(terms.max_age)} and {terms.limit} ticks"
    return f"{late}; catchup is {terms.catchup}"
