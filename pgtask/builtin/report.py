"""report: what came of the jobs of the last hour, day or week."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pgtask.database.connection import connect
from pgtask.database.statistics import current_instant, read_period
from pgtask.model.period import KINDS, Period, PeriodKind, last_period
from pgtask.model.serialise import tally_as_json
from pgtask.model.statistics import Tally, total
from pgtask.model.verdict import Discard

MAX_NAMES = 200
"""Most queues, tasks and pairs of them that are listed, the busiest first; the rest is in the totals only."""
_TOP = 5


def report(
    database_url: str, kind: PeriodKind, at: str | None, timezone: str, *, pooled: bool = False
) -> dict[str, Any]:
    """The report on the last full period before `at` (RFC 3339; None is now) in this time zone.

    Raises Discard for a wrong argument.
    """
    if kind not in KINDS:
        raise Discard(f"unknown type {kind!r}: use {', '.join(KINDS)}")
    zone, wanted = _zone(timezone), _instant(at)
    with closing(connect(database_url, application_name="pgtask report", pooled=pooled)) as connection:
        period = last_period(kind, wanted or current_instant(connection), zone)
        tallies = read_period(connection, period.began_at, period.ended_at)
    return {
        "type": kind,
        "from": period.began_at.isoformat(),
        "to": period.ended_at.isoformat(),
        "timezone": timezone,
        **summary(tallies, period),
    }


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (TypeError, ValueError, OSError, KeyError):
        raise Discard(f"unknown time zone {name!r}: use a name such as UTC or Europe/Vienna") from None


def _instant(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Discard(f"at: {text!r} is no instant; write 2026-01-31T07:00:00Z") from None
    if found.utcoffset() is None:
        raise Discard(f"at: {text!r} has no time zone; write 2026-01-31T07:00:00Z or …+01:00")
    return found


def summary(tallies: Mapping[tuple[str, str], Tally], period: Period) -> dict[str, Any]:
    """The figures of a period, of which there is a tally for each queue and task."""
    queues, tasks = _sums(tallies, 0), _sums(tallies, 1)
    ran = [(name, tally) for name, tally in tasks.items() if tally.attempts]
    slowest = sorted(ran, key=lambda item: -(item[1].average_run or 0))
    failing = sorted(ran, key=lambda item: (-(item[1].error_rate or 0), -item[1].attempts))

    def figures(items: Iterable[tuple[str, Tally]]) -> dict[str, Any]:
        busiest = sorted(items, key=lambda item: (-item[1].attempts, item[0]))[:MAX_NAMES]
        return {name: tally_as_json(tally, period.seconds) for name, tally in busiest}

    pairs = sorted(tallies.items(), key=lambda item: (-item[1].attempts, item[0]))[:MAX_NAMES]
    return {
        "total": tally_as_json(total(tallies.values()), period.seconds),
        "by_queue": figures(queues.items()),
        "by_task": figures(tasks.items()),
        "by_queue_and_task": [
            {"queue": queue, "task": task, **tally_as_json(tally, period.seconds)} for (queue, task), tally in pairs
        ],
        "slowest_tasks": [
            {"task": name, "average_run_seconds": tally.average_run, "max_run_seconds": tally.max_run_seconds}
            for name, tally in slowest[:_TOP]
        ],
        "failing_tasks": [
            {"task": name, "error_rate": tally.error_rate, "failed": tally.failed, "retried": tally.retried}
            for name, tally in failing[:_TOP]
            if tally.error_rate
        ],
        "complete": len(tallies) <= MAX_NAMES,
    }


def _sums(tallies: Mapping[tuple[str, str], Tally], part: int) -> dict[str, Tally]:
    sums: dict[str, Tally] = {}
    for names, tally in tallies.items():
        sums[names[part]] = sums.get(names[part], Tally()) + tally
    return sums
